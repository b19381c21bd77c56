// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// wordy is a registry that says as much as it can in all that might be remembered.
type wordy struct{}

func (wordy) RoundTrip(r *http.Request) (*http.Response, error) {
	long := strings.Repeat("x", 48<<10)
	resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{}, Body: http.NoBody, Request: r}
	switch {
	case r.URL.Path == "/token":
		resp.StatusCode = http.StatusOK
		resp.Body = io.NopCloser(strings.NewReader(`{"token":"` + long + `","expires_in":3600}`))
	case r.Header.Get("Authorization") == "":
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer realm="https://`+r.URL.Host+`/token",service="`+long+`"`)
	}
	return resp, nil
}

// What is remembered of registries, credentials and repositories has a bound, however long the texts are: tenants write
// passwords, and choose registries that answer with what they like.
func TestMemoryIsBounded(t *testing.T) {
	c := &Client{}
	if err := c.Init(); err != nil {
		t.Fatal(err)
	}
	c.state.shared = wordy{}
	before := heap()
	for i := range 400 {
		auth := authn.AuthConfig{Username: fmt.Sprint(i), Password: strings.Repeat("p", 64<<10)}
		image := ref.MustParse(fmt.Sprintf("r%d.example/a:1", i))
		if _, err := c.Manifest(t.Context(), Request{Ref: image, Method: http.MethodHead, Auth: auth, Namespace: fmt.Sprint(i)}); err == nil {
			t.Fatal("an answer")
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d MiB are held of 400 registries and passwords", grown>>20)
	}
	runtime.KeepAlive(c)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // no heap is that large
}
