// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
)

// countingLister lists no pods.
type countingLister struct{ lists int }

func (l *countingLister) List(
	context.Context, Revision, string, func([]byte) error,
) (next string, err error) {
	l.lists++
	return "", nil
}

// TestSharedMemory checks that a pod does not count as the first one because of a list that ended
// before it asked, if it shares the call of a pod for which that list was enough.
func TestSharedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lister := &countingLister{}
		s := &Siblings{List: lister.List, Queue: Places()}
		defer s.Close()
		r := Revision{Namespace: "n", Owner: "u", Label: "l", Value: "h"}
		hold := make(chan struct{})
		go func() {
			_, _ = s.lists.Do(t.Context(), r, func(context.Context) (shared, error) {
				<-hold
				return shared{record{listed: time.Now()}, true}, nil
			})
		}()
		synctest.Wait()
		done := make(chan Running)
		go func() { done <- s.Running(t.Context(), r, []string{"a:1"}, true) }()
		synctest.Wait()
		close(hold)
		if got := <-done; !got.First || lister.lists != 1 {
			t.Errorf("Running = %+v after %d lists, want the first pod after one", got, lister.lists)
		}
	})
}

// onePage is a connection to an API server with a page of ten small pods.
type onePage struct{}

func (onePage) RoundTrip(r *http.Request) (*http.Response, error) {
	body := `{"items":[{}` + strings.Repeat(`,{}`, 9) + `]}`
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// TestLargePage checks that the pods of a page are read up to its maximum size, and that the rest
// is an error.
func TestLargePage(t *testing.T) {
	api, err := kubernetes.NewForConfig(
		&rest.Config{Host: "https://api.example", QPS: -1, Transport: onePage{}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		maxPage int64
		pods    int
		err     error
	}{{1000, 10, nil}, {25, 5, fair.ErrTooLarge}} {
		list := newList(api.CoreV1().RESTClient(), &fair.Queue{}, tt.maxPage)
		pods := 0
		_, err := list(t.Context(), Revision{Namespace: "n"}, "", func([]byte) error {
			pods++
			return nil
		})
		if pods != tt.pods || !errors.Is(err, tt.err) {
			t.Errorf("at most %d bytes: %d pods, %v; want %d, %v", tt.maxPage, pods, err, tt.pods, tt.err)
		}
	}
}
