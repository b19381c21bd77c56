// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/sibling"
)

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
	lister := sibling.FromClient(client.CoreV1().RESTClient())
	for _, tt := range []struct {
		answer string
		want   string // the pods
		ok     bool
	}{
		{`{"kind":"PodList","items":[{"a":1},{"b":[2]}],"metadata":{}}`, `{"a":1} {"b":[2]}`, true},
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
		err := lister.List(t.Context(), "n", "pod-template-hash", "h", func(raw []byte) error {
			got = append(got, string(raw))
			return nil
		})
		if s := strings.Join(got, " "); s != tt.want || (err == nil) != tt.ok {
			t.Errorf("List of %s = %s, %v, want %s, ok: %t", tt.answer, s, err, tt.want, tt.ok)
		}
	}
	if got, want := asked.URL.String(), "/api/v1/namespaces/n/pods?labelSelector=pod-template-hash%3Dh&limit=100"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if got := asked.Header.Get("Accept"); got != "application/json" {
		t.Errorf("Accept = %s", got)
	}
	asked = nil
	if err := lister.List(t.Context(), "n", "pod-template-hash", "a,b!=c", nil); err == nil || asked != nil {
		t.Errorf("a label that is none: %v, asked: %t, want an error and nothing asked", err, asked != nil)
	}
	answer, status = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`, http.StatusForbidden
	if err := lister.List(t.Context(), "n", "pod-template-hash", "h", nil); !apierrors.IsForbidden(err) {
		t.Errorf("forbidden: %v", err)
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
	lister := sibling.FromClient(client.CoreV1().RESTClient())
	none := func([]byte) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range flood {
		wg.Go(func() { _ = lister.List(ctx, "loud", "pod-template-hash", "h", none) })
	}
	if err := lister.List(t.Context(), "quiet", "pod-template-hash", "h", none); err != nil {
		t.Errorf("the other namespace's list: %v", err)
	}
	cancel()
	close(hold)
	wg.Wait()
	if got := asked.Load(); got > 4 {
		t.Errorf("%d lists of one namespace at once, want 4 at most", got)
	}
	if err := lister.List(t.Context(), "loud", "pod-template-hash", "h", none); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
