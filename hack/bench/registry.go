// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"
)

// bearer is the token that the registry issues and requires.
const bearer = "bench"

// images is a registry in memory. It requires a token, delays its responses, and counts requests.
type images struct {
	next      http.Handler
	body      []byte // the manifest of all images
	mediaType string
	delay     atomic.Int64 // delay of each response in nanoseconds
	manifests atomic.Int64 // number of requests for manifests, including refused ones
	tokens    atomic.Int64 // number of requests for tokens

	mu    sync.Mutex
	spans []span // the requests since startTrace; nil if requests are not traced
}

// span is the time from a request to its response.
type span struct{ from, to time.Time }

// startTrace starts to trace requests.
func (i *images) startTrace() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.spans = []span{}
}

// stopTrace stops to trace requests. It returns the maximum number of traced requests that were
// sent one after another.
func (i *images) stopTrace() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n, last := 0, time.Time{}
	slices.SortFunc(i.spans, func(a, b span) int { return a.to.Compare(b.to) })
	for _, s := range i.spans {
		if !s.from.Before(last) {
			n, last = n+1, s.to
		}
	}
	i.spans = nil
	return n
}

// record adds a request to the trace.
func (i *images) record(from time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.spans != nil {
		i.spans = append(i.spans, span{from, time.Now()})
	}
}

func newImages() (*images, error) {
	image, err := random.Image(64, 1)
	if err != nil {
		return nil, err
	}
	i := &images{next: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	if i.body, err = image.RawManifest(); err != nil {
		return nil, err
	}
	mediaType, err := image.MediaType()
	i.mediaType = string(mediaType)
	return i, err
}

// ServeHTTP responds to a request after the delay.
func (i *images) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer i.record(time.Now())
	time.Sleep(time.Duration(i.delay.Load()))
	if r.URL.Path == "/token" {
		i.tokens.Add(1)
		fmt.Fprintf(w, `{"token":%q,"expires_in":3600}`, bearer)
		return
	}
	if strings.Contains(r.URL.Path, "/manifests/") {
		i.manifests.Add(1)
	}
	open := strings.HasPrefix(r.URL.Path, "/v2/"+openPrefix)
	if !open && r.Header.Get("Authorization") != "Bearer "+bearer {
		challenge := fmt.Sprintf(`Bearer realm="https://%s/token",service="bench"`, r.Host)
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if tag, ok := strings.CutPrefix(r.URL.Path, "/v2/"+anything+"/manifests/"); ok {
		w.Header().Set("Content-Type", i.mediaType)
		w.Header().Set("Docker-Content-Digest", digest.FromString(tag).String())
		return
	}
	i.next.ServeHTTP(w, r)
}

// openPrefix is the beginning of repositories that require no token.
const openPrefix = "open/"

// anything is a repository that has every tag.
const anything = "anything/app"

// requests returns the number of requests so far.
func (i *images) requests() int64 { return i.manifests.Load() + i.tokens.Load() }

// push creates a tag without a delay or a token.
func (i *images) push(ctx context.Context, repository, tag string) error {
	url := "/v2/" + repository + "/manifests/" + tag
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(i.body))
	r.Header.Set("Content-Type", i.mediaType)
	w := httptest.NewRecorder()
	if i.next.ServeHTTP(w, r); w.Code != http.StatusCreated {
		return fmt.Errorf("pushing %s:%s: %d %s", repository, tag, w.Code, w.Body)
	}
	return nil
}
