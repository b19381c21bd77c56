// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// TestUnreadBodyIsNotBuffered checks that a manifest that waits for room is not read into HTTP/2's
// own buffers.
func TestUnreadBodyIsNotBuffered(t *testing.T) {
	var written atomic.Int64
	_, host, c := registry.HTTP2(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		for range registry.MaxManifest >> 10 {
			n, err := w.Write(make([]byte, 1<<10))
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	q := &fair.Queue{Capacity: registry.MaxManifest}
	leave, err := q.Enter(t.Context(), "other", registry.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	c.Manifests, c.Hosts = q, []registry.Host{{Name: "*", Timeout: 300 * time.Millisecond}}
	image := ref.MustParse(host + "/a:1")
	for range 2 { // also with no gate closed
		_, err = c.Manifest(t.Context(), registry.Request{Ref: image})
		if err == nil || !strings.Contains(err.Error(), "too many large ones are being read") {
			t.Errorf("Manifest = %v, want no room", err)
		}
	}
	if n := written.Load(); n > 1<<20 {
		t.Errorf("%d bytes of two unread manifests were sent, want at most 1 MiB", n)
	}
}
