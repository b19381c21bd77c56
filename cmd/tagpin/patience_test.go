// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const emptyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// busy starts a registry that refuses a number of requests with a status and a Retry-After header,
// and returns its host and the number of requests for manifests so far.
func busy(t *testing.T, refuses int64, status int, retryAfter string) (string, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return
		}
		if requests.Add(1) <= refuses {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", emptyDigest)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), &requests
}

// patient returns a patience for the hosts of this machine, and what it reports.
func patient(t *testing.T) (*patience, *[]string) {
	t.Helper()
	c := &registry.Client{Lenient: registry.Lenient{Loopback: true}, ExplainAll: true}
	t.Cleanup(c.Close)
	var mu sync.Mutex
	var reports []string
	return &patience{
		next: &resolve.Registry{Client: c}, limit: "--timeout",
		report: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, err.Error())
		},
	}, &reports
}

func (p *patience) digest(ctx context.Context, image string) string {
	result, err := p.Resolve(ctx, resolve.Request{Ref: ref.MustParse(image), Fresh: true})
	if err != nil {
		return err.Error()
	}
	return result.Digest.String()
}

// TestPatience checks that a registry is asked again when it has asked for, and that lookups at
// another one don't wait for it.
func TestPatience(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		host, requests := busy(t, 1, status, "1")
		other, _ := busy(t, 0, 0, "")
		p, reports := patient(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if got := p.digest(ctx, host+"/team/app:1"); got != emptyDigest {
					t.Errorf("%d: Resolve = %s, want %s", status, got, emptyDigest)
				}
			})
		}
		if got := p.digest(ctx, other+"/app:1"); got != emptyDigest {
			t.Errorf("another registry: Resolve = %s, want %s", got, emptyDigest)
		}
		wg.Wait()
		if n := requests.Load(); n < 6 || n > 10 || len(*reports) != 1 ||
			!strings.HasPrefix((*reports)[0], fmt.Sprintf("waiting for %s: %d ", host, status)) {
			t.Errorf("%d: %d requests, reports %q, want one report", status, n, *reports)
		}
	}
}

// TestPatienceEnds checks that a wait that is longer than the time that is left is not begun, and
// that one without an end is.
func TestPatienceEnds(t *testing.T) {
	host, requests := busy(t, 100, http.StatusTooManyRequests, "60")
	p, _ := patient(t)
	var f engineFlags
	f.timeout = 30 * time.Second
	ctx, cancel := f.limit(t.Context())
	defer cancel()
	want := "429 Too Many Requests, to be asked again in 60s; that is after the end of --timeout, in 30s"
	if got := p.digest(ctx, host+"/app:1"); !strings.HasSuffix(got, want) || requests.Load() != 1 {
		t.Errorf("Resolve = %s after %d requests, want %s after one", got, requests.Load(), want)
	}
	f.timeout = 0
	ctx, cancel = f.limit(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if got := p.digest(ctx, host+"/app:1"); !strings.HasSuffix(got, "; context canceled") {
		t.Errorf("interrupted: Resolve = %s, want the end of the context", got)
	}
}

// TestUnasked checks that a registry that does not say when to ask again is asked a few times.
func TestUnasked(t *testing.T) {
	refused := errors.New("refused")
	p, _ := patient(t)
	asked := 0
	err := p.do(t.Context(), func() error { asked++; return refused })
	if !errors.Is(err, refused) || asked != 1 {
		t.Errorf("do = %v after %d calls, want the error of the first", err, asked)
	}
	host, requests := busy(t, 2, http.StatusServiceUnavailable, "")
	if got := p.digest(t.Context(), host+"/app:1"); got != emptyDigest || requests.Load() != 3 {
		t.Errorf("Resolve = %s after %d requests, want the third answer", got, requests.Load())
	}
}

// TestLongOutage checks that a registry that is out of service for longer than lookups wait is
// asked a few times too, and what is reported of that.
func TestLongOutage(t *testing.T) {
	host, _ := busy(t, 1<<30, http.StatusServiceUnavailable, "3600")
	p, reports := patient(t)
	_, failed := p.next.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(host + "/app:1")})
	var waits []time.Duration
	guesses := 0
	for range maxGuesses + 1 {
		wait, err := p.wait(t.Context(), failed, &guesses)
		if !errors.Is(err, failed) {
			t.Errorf("wait = %v, want %v", err, failed)
		}
		waits = append(waits, wait)
	}
	want := []time.Duration{30 * time.Second, 30 * time.Second, 30 * time.Second, 0}
	if !slices.Equal(waits, want) {
		t.Errorf("waits: %v, want %v", waits, want)
	}
	says := "waiting for " + host + ": 503 Service Unavailable, to be asked again in 3600s; " +
		"asking again in 30s"
	if !slices.Equal(*reports, []string{says}) {
		t.Errorf("reports: %q, want %q", *reports, says)
	}
}

// TestReportsAreBounded checks that waits for very many registries are neither all reported nor
// remembered for ever.
func TestReportsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := 0
		p := &patience{report: func(error) { reports++ }}
		wait := func(i int) { p.announce(fmt.Sprint(i), errors.New("limited"), time.Second) }
		for i := range 10 * maxReported {
			wait(i)
		}
		if reports != maxReported || len(p.until) != maxReported {
			t.Errorf("%d reports, %d remembered, want %d", reports, len(p.until), maxReported)
		}
		time.Sleep(reportedTime)
		wait(0)
		if reports != maxReported+1 || len(p.until) != 1 {
			t.Errorf("later: %d reports, %d remembered, want one more, and 1", reports, len(p.until))
		}
	})
}
