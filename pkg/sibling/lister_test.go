// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// revision returns a revision of a namespace with a value of pod-template-hash.
func revision(namespace, value string) sibling.Revision {
	return sibling.Revision{Namespace: namespace, Label: "pod-template-hash", Value: value}
}

// TestLister checks the request for a list and how its response is read. A response that is not a
// list, or only a part of one, is an error.
func TestLister(t *testing.T) {
	body, status := "", http.StatusOK
	var request *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request = r
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer server.CloseClientConnections()
	list := sibling.FromClient(client.CoreV1().RESTClient(), &fair.Queue{})
	for _, tt := range []struct {
		body string
		want string // the pods and the continue token
		ok   bool
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
		body = tt.body
		var got []string
		next, err := list(t.Context(), revision("n", "h"), "c/d", func(raw []byte) error {
			got = append(got, string(raw))
			return nil
		})
		if next != "" {
			got = append(got, next)
		}
		if s := strings.Join(got, " "); s != tt.want || (err == nil) != tt.ok {
			t.Errorf("List of %s = %s, %v, want %s, ok: %t", tt.body, s, err, tt.want, tt.ok)
		}
	}
	const pods = "/api/v1/namespaces/n/pods?"
	want := pods + "continue=c%2Fd&labelSelector=pod-template-hash%3Dh&limit=100"
	if got := request.URL.String(); got != want {
		t.Errorf("request for %s, want %s", got, want)
	}
	if got := request.Header.Get("Accept"); got != "application/json" {
		t.Errorf("request with Accept = %s, want application/json", got)
	}
	noLabel := sibling.Revision{Namespace: "n", Owner: "u"}
	if _, err := list(t.Context(), noLabel, "", nil); err == nil {
		t.Error("List of a page of HTML returned no error")
	}
	if got, want := request.URL.String(), pods+"limit=100"; got != want {
		t.Errorf("without a label: request for %s, want %s", got, want)
	}
	request = nil
	_, err = list(t.Context(), revision("n", "a,b!=c"), "", nil)
	if err == nil || request != nil {
		t.Errorf("invalid label: List = %v, request sent: %t, want an error and no request",
			err, request != nil)
	}
	status = http.StatusForbidden
	body = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`
	_, err = list(t.Context(), revision("n", "h"), "", nil)
	if !apierrors.IsForbidden(err) {
		t.Errorf("status 403: List = %v, want a forbidden error", err)
	}
}

// emptyServer is a connection to an API server that has no pods and answers after a delay.
type emptyServer struct{ delay time.Duration }

func (s emptyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   io.NopCloser(strings.NewReader(`{"items":[]}`)),
	}, nil
}

// TestCallTimeout checks that the timeout of a request doesn't include the time that it waits for
// its turn.
func TestCallTimeout(t *testing.T) {
	const many = 32 // more than the 4 of one namespace that run at a time
	for _, tt := range []struct {
		name  string
		qps   float32
		delay time.Duration
		want  int // lists that succeed
	}{
		{"waiting in the queue", 1000, time.Second, many},
		{"waiting for the client's rate limit", 4, 0, many},
		{"no answer", 1000, time.Minute, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := kubernetes.NewForConfig(&rest.Config{
					Host: "https://api.example", QPS: tt.qps, Burst: 1, Transport: emptyServer{tt.delay},
				})
				if err != nil {
					t.Fatal(err)
				}
				list := sibling.FromClient(client.CoreV1().RESTClient(), &fair.Queue{})
				var ok atomic.Int32
				var wg sync.WaitGroup
				for range many {
					wg.Go(func() {
						if _, err := list(t.Context(), revision("n", "h"), "", nil); err == nil {
							ok.Add(1)
						}
					})
				}
				wg.Wait()
				if got := int(ok.Load()); got != tt.want {
					t.Errorf("%d of %d lists succeeded, want %d", got, many, tt.want)
				}
			})
		})
	}
}

// TestNamespacesShare checks that at most 4 lists of one namespace run at a time, so that the lists
// of another namespace don't wait, and that the lists that wait end with their callers.
func TestNamespacesShare(t *testing.T) {
	const flood = 40
	var requests atomic.Int32
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/namespaces/loud/") {
			requests.Add(1)
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
	s := &sibling.Siblings{
		List:   sibling.FromClient(client.CoreV1().RESTClient(), &fair.Queue{}),
		Queue:  sibling.Places(),
		Policy: &policy.Policy{},
	}
	defer s.Close()
	list := func(ctx context.Context, namespace string, i int) error {
		return s.Running(ctx, revision(namespace, fmt.Sprint(i)), []string{"app:1"}, true).Err
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range flood {
		wg.Go(func() { _ = list(ctx, "loud", i) })
	}
	if err := list(t.Context(), "quiet", 0); err != nil {
		t.Errorf("quiet namespace: %v, want no error", err)
	}
	cancel()
	wg.Wait() // the lists that wait end with their callers
	close(hold)
	if err := list(t.Context(), "loud", flood); err != nil {
		t.Errorf("loud namespace afterwards: %v, want no error", err)
	}
	if got := requests.Load(); got > 4+1 {
		t.Errorf("%d lists of one namespace, want 4 at a time and one afterwards", got)
	}
}

// TestLargePods checks the bytes that are taken for a list while its last pod is there, and that a
// pod that is too large is an error.
func TestLargePods(t *testing.T) {
	const kib = 1 << 10
	var sizes []int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		list := make([]string, len(sizes))
		for i, size := range sizes {
			list[i] = `{"a":"` + strings.Repeat("x", size) + `"}`
		}
		fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(list, ","))
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sizes []int
		want  int64 // bytes taken
		err   error
	}{
		{slices.Repeat([]int{100 * kib}, 10), 0, nil},
		{[]int{kib, 200 * kib}, 12 << 20, nil},
		{[]int{4000 * kib, kib}, 12 << 20, nil},
		{[]int{kib, 4097 * kib}, 0, fair.ErrTooLarge},
	} {
		sizes = tt.sizes
		large := &fair.Queue{Capacity: 24 << 20, Share: 12 << 20}
		list := sibling.FromClient(client.CoreV1().RESTClient(), large)
		var taken int64
		_, err := list(t.Context(), revision("n", "h"), "", func([]byte) error {
			taken = large.Stats().InUse
			return nil
		})
		if left := large.Stats().InUse; taken != tt.want || !errors.Is(err, tt.err) || left != 0 {
			t.Errorf("%v: %d bytes taken, %v, %d not given back; want %d, %v, 0",
				tt.sizes, taken, err, left, tt.want, tt.err)
		}
	}
}
