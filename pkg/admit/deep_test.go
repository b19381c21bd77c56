// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
)

// stacks returns the memory of all stacks, in bytes.
func stacks() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestDeepReviews checks that a review with values that are nested deeply needs no large stack. The
// goroutine of a connection keeps its stack, and one address may have hundreds of connections.
func TestDeepReviews(t *testing.T) {
	const connections, most = 50, 32 << 10
	deep := strings.Repeat("[", 9900) + strings.Repeat("]", 9900)
	object := `{"metadata":{"x":` + deep + `},"spec":{"containers":[],"x":` + deep + `},"x":` + deep + `}`
	body := review("UPDATE", "", "Pod", object, object)
	body = bytes.Replace(body, []byte(`"username":`),
		[]byte(`"groups":[`+deep+`],"extra":`+deep+`,"username":`), 1)
	h := newHandler(t, policy.Enforce, nil)
	var answered, ended sync.WaitGroup
	end := make(chan struct{})
	before := stacks()
	for range connections {
		answered.Add(1)
		ended.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, newRequest(t.Context(), bytes.NewReader(body)))
			if w.Code != 200 {
				t.Errorf("HTTP status %d: %s", w.Code, w.Body)
			}
			answered.Done()
			<-end
		})
	}
	answered.Wait()
	after := stacks()
	close(end)
	ended.Wait()
	if each := (int64(after) - int64(before)) / connections; each > most {
		t.Errorf("the stack of a connection has %d bytes after a deep review, want at most %d", each, most)
	}
}
