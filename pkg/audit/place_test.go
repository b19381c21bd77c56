// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestNoPlaceIsOwn checks that a lookup whose turn at the registry did not come in time says
// nothing to other namespaces, even if they have the same credentials.
func TestNoPlaceIsOwn(t *testing.T) {
	f := newFixture(t)
	f.pusher(t).image("app:1", "one")
	hangs := make(chan struct{}, 1)
	working := f.Handler
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v2/hangs/") {
			working.ServeHTTP(w, r)
			return
		}
		hangs <- struct{}{}
		<-r.Context().Done()
	})
	a := f.auditor(t)
	a.Timeout = 200 * time.Millisecond
	client := a.Images.Client
	client.Hosts[0].MaxInFlight = 2 // one of each namespace
	ctx, cancel := context.WithCancel(t.Context())
	var hanging sync.WaitGroup
	var once sync.Once
	a.Keychain = func(namespace string, _ workload.Identity) keychain.Keychain {
		once.Do(func() { // the namespace that asks first has no place left
			req := registry.Request{Ref: ref.MustParse(f.host + "/hangs:1"), Namespace: namespace}
			hanging.Go(func() { _, _ = client.Digest(ctx, req) })
			<-hangs
		})
		return keychain.Chain{}
	}
	here, there := one(f.host+"/app:1", ""), one(f.host+"/app:1", "")
	there.Namespace = "other"
	for _, finding := range report(t, a, here, there).Containers {
		if finding.Has(audit.Unknown) {
			t.Errorf("%s: %v, want the answer that the other namespace gets", finding.Namespace, finding.Details)
		}
	}
	cancel()
	hanging.Wait()
}
