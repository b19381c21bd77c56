// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/sibling"
)

// of is a revision by its namespace and the value of its label.
func of(namespace, value string) sibling.Revision {
	return sibling.Revision{Namespace: namespace, Label: "pod-template-hash", Value: value}
}

// A list is asked for by its label, bounded, as JSON; what is no list is an error, and so is half of one.
func TestLister(t *testing.T) {
	answer, status := "", http.StatusOK
	var asked *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer server.CloseClientConnections()
	lister := sibling.FromClient(client.CoreV1().RESTClient(), sibling.Places())
	for _, tt := range []struct {
		answer string
		want   string // the pods, and where the next page begins
		ok     bool
	}{
		{`{"kind":"PodList","items":[{"a":1},{"b":[2]}],"metadata":{}}`, `{"a":1} {"b":[2]}`, true},
		{`{"metadata":{"resourceVersion":"1","continue":"next"},"items":[{"a":1}]}`, `{"a":1} next`, true},
		{`{"metadata":7,"items":[]}`, ``, false},
		{`{"items":[]}`, ``, true},
		{`{"items":null}`, ``, true},
		{`{}`, ``, true},
		{`[]`, ``, false},
		{``, ``, false},
		{`{"items":[{"a":1},`, `{"a":1}`, false},
		{`{"items":[{"a":1}]`, `{"a":1}`, false},
		{`<html>`, ``, false},
	} {
		answer = tt.answer
		var got []string
		next, err := lister.List(t.Context(), of("n", "h"), "c/d", func(raw []byte) error {
			got = append(got, string(raw))
			return nil
		})
		if next != "" {
			got = append(got, next)
		}
		if s := strings.Join(got, " "); s != tt.want || (err == nil) != tt.ok {
			t.Errorf("List of %s = %s, %v, want %s, ok: %t", tt.answer, s, err, tt.want, tt.ok)
		}
	}
	if got, want := asked.URL.String(), "/api/v1/namespaces/n/pods?continue=c%2Fd&labelSelector=pod-template-hash%3Dh&limit=100"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if got := asked.Header.Get("Accept"); got != "application/json" {
		t.Errorf("Accept = %s", got)
	}
	bare := sibling.Revision{Namespace: "n", Owner: "u"}
	if _, err := lister.List(t.Context(), bare, "", nil); err == nil {
		t.Error("List of a page of HTML = no error")
	}
	if got, want := asked.URL.String(), "/api/v1/namespaces/n/pods?limit=100"; got != want {
		t.Errorf("without a label, asked for %s, want %s", got, want)
	}
	asked = nil
	if _, err := lister.List(t.Context(), of("n", "a,b!=c"), "", nil); err == nil || asked != nil {
		t.Errorf("a label that is none: %v, asked: %t, want an error and nothing asked", err, asked != nil)
	}
	answer, status = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`, http.StatusForbidden
	if _, err := lister.List(t.Context(), of("n", "h"), "", nil); !apierrors.IsForbidden(err) {
		t.Errorf("forbidden: %v", err)
	}
}

// answers is an API server that has no pods, and takes its time to say so.
type answers struct{ after time.Duration }

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(a.after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"items":[]}`)),
	}, nil
}

// A call has its own time, which the wait for its turn is no part of: what is bounded is what the API server takes.
func TestTurn(t *testing.T) {
	const many = 32 // of one namespace, four at once
	for _, tt := range []struct {
		name  string
		qps   float32
		after time.Duration
		ok    int
	}{
		{"waiting for places", 1000, time.Second, many},
		{"waiting for the client", 4, 0, many},
		{"no answer", 1000, time.Minute, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://api.example", QPS: tt.qps, Burst: 1, Transport: answers{tt.after}})
				if err != nil {
					t.Fatal(err)
				}
				lister := sibling.FromClient(client.CoreV1().RESTClient(), sibling.Places())
				var ok atomic.Int32
				var wg sync.WaitGroup
				for range many {
					wg.Go(func() {
						if _, err := lister.List(t.Context(), of("n", "h"), "", nil); err == nil {
							ok.Add(1)
						}
					})
				}
				wg.Wait()
				if got := int(ok.Load()); got != tt.ok {
					t.Errorf("%d of %d lists went well, want %d", got, many, tt.ok)
				}
			})
		})
	}
}

// One namespace has its own lists under way, and no more of all than a few: another's are made meanwhile.
func TestNamespacesShare(t *testing.T) {
	const flood = 40
	var asked atomic.Int32
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/namespaces/loud/") {
			asked.Add(1)
			<-hold
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"items":[]}`)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: 1000, Burst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	lister := sibling.FromClient(client.CoreV1().RESTClient(), sibling.Places())
	none := func([]byte) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range flood {
		wg.Go(func() { _, _ = lister.List(ctx, of("loud", "h"), "", none) })
	}
	if _, err := lister.List(t.Context(), of("quiet", "h"), "", none); err != nil {
		t.Errorf("the other namespace's list: %v", err)
	}
	cancel()
	close(hold)
	wg.Wait()
	if got := asked.Load(); got > 4 {
		t.Errorf("%d lists of one namespace at once, want 4 at most", got)
	}
	if _, err := lister.List(t.Context(), of("loud", "h"), "", none); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
