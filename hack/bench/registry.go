// SPDX-License-Identifier: Apache-2.0

package main

import (
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

// images is a registry in memory that takes its time, and counts.
type images struct {
	next      http.Handler
	body      []byte
	mediaType string
	delay     atomic.Int64 // of each answer, in nanoseconds
	manifests atomic.Int64 // requests
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
	if strings.Contains(r.URL.Path, "/manifests/") {
		i.manifests.Add(1)
	}
	time.Sleep(time.Duration(i.delay.Load()))
	i.next.ServeHTTP(w, r)
}

// push gives the registry a tag at once.
func (i *images) push(ctx context.Context, repository, tag string) error {
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, strings.NewReader(string(i.body)))
	r.Header.Set("Content-Type", i.mediaType)
	w := httptest.NewRecorder()
	if i.next.ServeHTTP(w, r); w.Code != http.StatusCreated {
		return fmt.Errorf("pushing %s:%s: %d %s", repository, tag, w.Code, w.Body)
	}
	return nil
}
