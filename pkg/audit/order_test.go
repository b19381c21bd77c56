// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/audit"
)

// TestLastAnswerOpensMore checks that the answer to the last question that is open is not the end
// if another namespace, which had no answer, has a question because of it. The namespaces are in a
// map, so several audits have them in both orders.
func TestLastAnswerOpensMore(t *testing.T) {
	f := newFixture(t)
	now := f.pusher(t).image("app:1", "one")
	var done atomic.Int64
	working := f.Handler
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, ok := r.BasicAuth()
		tag := strings.HasSuffix(r.URL.Path, "/app/manifests/1")
		switch {
		case !ok:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case tag && password == "a":
			w.WriteHeader(http.StatusNotFound)
		case tag && done.Load() < 2: // the other namespace still has questions
			w.WriteHeader(http.StatusInternalServerError)
		default:
			working.ServeHTTP(w, r)
		}
	})
	for range 16 {
		done.Store(0)
		a := f.auditor(t)
		a.Keychain = passwords(map[string]string{"a": "a", "b": "b"})
		a.Progress = func(n, _ int) { done.Store(int64(n)) }
		a.Wait = func(_ context.Context, err error, _ *int) (time.Duration, error) {
			if strings.Contains(err.Error(), "500 Internal Server Error") {
				return time.Millisecond, err
			}
			return 0, err
		}
		a.Until = time.Now().Add(30 * time.Second)
		first, last := one(f.host+"/app:1", f.host+"/app@"+nothing), one(f.host+"/app:1", "")
		first.Namespace, last.Namespace = "a", "b"
		got := report(t, a, first, last).Containers[0]
		want := []audit.State{audit.Gone, audit.Drifted, audit.Unpinned}
		if fmt.Sprint(got.States) != fmt.Sprint(want) || got.TagDigest.String() != now {
			t.Fatalf("%s: %v, %v, want %v and the tag's digest", got.Namespace, got.States, got.Details, want)
		}
	}
}
