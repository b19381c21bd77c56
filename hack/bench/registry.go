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
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// bearer is the token that the registry gives to everybody, and wants to see.
const bearer = "bench"

// images is a registry in memory that wants a token for each repository, takes its time, and counts.
type images struct {
	next      http.Handler
	body      []byte
	mediaType string
	delay     atomic.Int64 // of each answer, in nanoseconds
	manifests atomic.Int64 // requests for manifests, refused ones too
	tokens    atomic.Int64 // requests for tokens
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

// ServeHTTP waits, and then answers.
func (i *images) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(i.delay.Load()))
	if r.URL.Path == "/token" {
		i.tokens.Add(1)
		fmt.Fprintf(w, `{"token":%q,"expires_in":3600}`, bearer)
		return
	}
	if strings.Contains(r.URL.Path, "/manifests/") {
		i.manifests.Add(1)
	}
	if r.Header.Get("Authorization") != "Bearer "+bearer {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="bench"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	i.next.ServeHTTP(w, r)
}

// asked is the number of requests so far.
func (i *images) asked() int64 { return i.manifests.Load() + i.tokens.Load() }

// push gives the registry a tag, without a wait or a token.
func (i *images) push(ctx context.Context, repository, tag string) error {
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, bytes.NewReader(i.body))
	r.Header.Set("Content-Type", i.mediaType)
	w := httptest.NewRecorder()
	if i.next.ServeHTTP(w, r); w.Code != http.StatusCreated {
		return fmt.Errorf("pushing %s:%s: %d %s", repository, tag, w.Code, w.Body)
	}
	return nil
}
