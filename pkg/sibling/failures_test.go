// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// TestKnownBeforeListFails checks that a list that fails doesn't remove what was known before.
func TestKnownBeforeListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{json: []string{pinnedPod("h")}}
		s := newSiblings(t, p)
		wantRunning(t, "before", s, revisionOf("u", "h"), known, d1)
		p.err = errors.New("down")
		for range 3 {
			time.Sleep(time.Hour)
			wantRunning(t, "while lists fail", s, revisionOf("u", "h"), known, d1)
		}
	})
}

// TestListFails checks that no pod counts as the first one if a list fails, and that the next list
// is made a second later.
func TestListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{err: errors.New("down"), json: []string{pinnedPod("h")}}
		s := newSiblings(t, p)
		for range 3 {
			wantRunning(t, "list that fails", s, revisionOf("u", "h"), unknown, "")
		}
		p.wantLists(t, "list that fails", 1)
		p.err = nil
		time.Sleep(2 * time.Second)
		wantRunning(t, "two seconds later", s, revisionOf("u", "h"), known, d1)
	})
}

// TestForbidden checks that pods are still admitted if tagpin may not list them.
func TestForbidden(t *testing.T) {
	p := &fakeLister{err: apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)}
	s := newSiblings(t, p)
	for range 3 {
		wantRunning(t, "forbidden", s, revisionOf("u", "h"), known, "")
	}
	p.wantLists(t, "forbidden", 1)
}

// TestListHangs checks that a caller waits for a list no longer than its context, and that a list
// that hangs ends after the timeout for all its callers.
func TestListHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{delay: time.Hour}
		s := newSiblings(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		got := s.Running(ctx, revisionOf("u", "h"), []string{"r:1"}, true)
		if !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("Running = error %v, want one because the context ended", got.Err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v, want 1 s, as long as the context", took)
		}
		for range 5 {
			wantRunning(t, "list that hangs", s, revisionOf("u", "h"), unknown, "")
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %v, want 10 s, the timeout of the list", took)
		}
		p.wantLists(t, "five pods", 1)
	})
}

// TestSlowList checks that the result of a slow list is there when the pod is created again, and
// that a pod whose digests are known from an older list waits for two seconds only.
func TestSlowList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{delay: 4 * time.Second, json: []string{pinnedPod("h")}}
		s := newSiblings(t, p)
		for i, want := range []digest.Digest{"", d1} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			got := s.Running(ctx, revisionOf("u", "h"), []string{"r:1"}, true)
			cancel()
			wantState := unknown
			if want != "" {
				wantState = known
			}
			checkRunning(t, fmt.Sprint("call ", i), got, wantState, want)
		}
		p.wantLists(t, "slow list", 1)
		time.Sleep(time.Minute)
		start := time.Now()
		wantRunning(t, "known digest", s, revisionOf("u", "h"), known, d1)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("waited %v, want 2 s, because the digest was known before", took)
		}
	})
}

// TestManyRevisions checks that lists of many revisions at the same time all succeed, although the
// client limits its requests.
func TestManyRevisions(t *testing.T) {
	const many = 200
	synctest.Test(t, func(t *testing.T) {
		client, err := kubernetes.NewForConfig(&rest.Config{
			Host: "https://api.example", QPS: 20, Burst: 40, Transport: onePodServer{},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &sibling.Siblings{
			List:   sibling.FromClient(client.CoreV1().RESTClient(), &fair.Queue{}),
			Queue:  sibling.Places(),
			Policy: &policy.Policy{},
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				r := revisionOf("u", fmt.Sprint("h", i))
				got := s.Running(ctx, r, []string{"r:1"}, true)
				checkRunning(t, fmt.Sprint("revision ", i), got, known, d1)
			})
		}
		wg.Wait()
	})
}

// onePodServer is a connection to an API server that has one pod of each revision.
type onePodServer struct{}

func (onePodServer) RoundTrip(r *http.Request) (*http.Response, error) {
	_, hash, _ := strings.Cut(r.URL.Query().Get("labelSelector"), "=")
	body := `{"items":[` + pinnedPod(hash) + `]}`
	return &http.Response{
		StatusCode: http.StatusOK, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   io.NopCloser(strings.NewReader(body)),
	}, nil
}

// TestPages checks that pages are read until all texts are found, and that a pod does not count as
// the first one if there are more than ten pages.
func TestPages(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int // unpinned pods before the pinned one
		after  int // unpinned pods after the pinned one; -1 if there is no pinned one
		pages  int
		want   digest.Digest
		state  state
	}{
		{"first page", 5, 100, 1, d1, known},
		{"third page", 25, 100, 3, d1, known},
		{"last page", 99, 0, 10, d1, known},
		{"no page", 100, -1, 10, "", first},
		{"page that is not read", 100, 50, 10, "", known},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &fakeLister{pageSize: 10}
			for i := range tt.before {
				p.json = append(p.json, podJSON(fmt.Sprint(i), "", "u", "h", "", "app", "r:1"))
			}
			if tt.after >= 0 {
				p.json = append(p.json, pinnedPod("h"))
			}
			for i := range tt.after {
				p.json = append(p.json, podJSON(fmt.Sprint(i), "", "u", "h", "", "app", "r:1"))
			}
			s := newSiblings(t, p)
			wantRunning(t, tt.name, s, revisionOf("u", "h"), tt.state, tt.want)
			if p.pages != tt.pages {
				t.Errorf("%d pages, want %d", p.pages, tt.pages)
			}
		})
	}
}

// TestTooLarge checks that what was found before a pod or a page that is too large is known, and
// that a pod does not count as the first one then.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSiblings(t, &fakeLister{json: []string{pinnedPod("h")}, err: fair.ErrTooLarge})
		wantRunning(t, "before", s, revisionOf("u", "h"), known, d1)
		got := s.Running(t.Context(), revisionOf("u", "h"), []string{"r:2"}, true)
		if got.First || got.Err != nil || len(got.Digests) > 0 {
			t.Errorf("another text: Running = %+v, want nothing known", got)
		}
	})
}

// TestManyTexts checks that a list finds the text that it is for among more than are remembered,
// and shows that a pod with another text is the first one. A digest is recorded although the list
// has found many others.
func TestManyTexts(t *testing.T) {
	var images []string
	for i := range 200 {
		images = append(images, fmt.Sprintf("c%d", i), fmt.Sprintf("r:%d@%s", i, d1))
	}
	s := newSiblings(t, &fakeLister{json: []string{podJSON("a", "", "u", "h", "", images...)}})
	for i := range 200 {
		text := fmt.Sprintf("r:%d", i)
		if got := s.Running(t.Context(), revisionOf("u", "h"), []string{text}, true); got.Digests[text] != d1 {
			t.Errorf("Running for %s = %+v, want %s", text, got, d1)
		}
	}
	got := s.Running(t.Context(), revisionOf("u", "h"), []string{"r:new"}, true)
	if !got.First || got.Err != nil {
		t.Errorf("Running for another text = %+v, want the first pod", got)
	}
	s.Record(revisionOf("u", "h"), "r:new", d1)
	if got := s.Record(revisionOf("u", "h"), "r:new", d2); got != d1 {
		t.Errorf("Record of a second pod = %s, want the digest of the first one, %s", got, d1)
	}
}

// TestSharedList checks that a pod does not count as the first one because of a list that stopped
// at a page with the text of another pod.
func TestSharedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeLister{pageSize: 1, delay: time.Second, json: []string{
			pinnedPod("h"),
			podJSON("b", "", "u", "h", "", "app", "r:2@"+d2.String()),
		}}
		s := newSiblings(t, p)
		var wg sync.WaitGroup
		wg.Go(func() {
			wantRunning(t, "pod that starts the list", s, revisionOf("u", "h"), known, d1)
		})
		synctest.Wait()
		got := s.Running(t.Context(), revisionOf("u", "h"), []string{"r:2"}, true)
		if got.Err != nil || got.Digests["r:2"] != d2 {
			t.Errorf("pod that joins the list: Running = %+v, want r:2 to be %q", got, d2)
		}
		wg.Wait()
		p.wantLists(t, "two texts on two pages", 2)
	})
}

// TestPanic checks that a panic in a list is an error for its callers, is reported, and that the
// next list is made a second later.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var caught []*panics.Error
		p := &fakeLister{json: []string{pinnedPod("h")}}
		s := newSiblings(t, p)
		s.Policy = nil // so that the list panics
		s.Panics = &panics.Reporter{Report: func(err *panics.Error) { caught = append(caught, err) }}
		for range 3 {
			wantRunning(t, "panic", s, revisionOf("u", "h"), unknown, "")
		}
		if p.wantLists(t, "panic", 1); len(caught) != 1 || len(caught[0].Stack) == 0 {
			t.Errorf("%d panics reported, want one, with its stack", len(caught))
		}
	})
}

// TestClosed checks that no list is made after Close.
func TestClosed(t *testing.T) {
	p := &fakeLister{}
	s := newSiblings(t, p)
	s.Close()
	wantRunning(t, "closed", s, revisionOf("u", "h"), unknown, "")
	p.wantLists(t, "closed", 0)
}

// TestDeep checks that a pod that is nested as deeply as the API server allows is read like others.
func TestDeep(t *testing.T) {
	const levels = 9995 // with those of its metadata, the object has 10,000
	fields := strings.Repeat(`{"f:a":`, levels) + `{}` + strings.Repeat("}", levels)
	deep := strings.Replace(pinnedPod("h"), `"metadata":{`,
		`"metadata":{"managedFields":[{"fieldsV1":`+fields+`}],`, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"PodList","metadata":{},"items":[%s]}`, deep)
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := newSiblings(t, &fakeLister{})
	s.List = sibling.FromClient(client.CoreV1().RESTClient(), &fair.Queue{})
	got := s.Running(t.Context(), revisionOf("u", "h"), []string{"r:1"}, true)
	if got.Err != nil || got.Digests["r:1"] != d1 {
		t.Errorf("Running = %+v, want %s", got, d1)
	}
	server.CloseClientConnections()
}
