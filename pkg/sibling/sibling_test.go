// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
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

	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	d1 = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	d2 = digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// podJSON is a pod as the API server tells it, in pairs of container and image.
func podJSON(name, created, owner, hash, annotation string, containers ...string) string {
	var list []string
	for i := 0; i < len(containers); i += 2 {
		list = append(list, fmt.Sprintf(`{"name":%q,"image":%q}`, containers[i], containers[i+1]))
	}
	return fmt.Sprintf(`{"metadata":{"name":%q,"creationTimestamp":%q,"labels":{"pod-template-hash":%q},"annotations":{"tagpin.dev/pins":%q},`+
		`"ownerReferences":[{"uid":%q,"kind":"ReplicaSet","controller":true}]},"spec":{"containers":[%s]}}`,
		name, created, hash, annotation, owner, strings.Join(list, ","))
}

// pods is a Lister of pods that are there.
type pods struct {
	mu    sync.Mutex
	json  []string
	err   error
	label string        // that lists have to ask for; empty: pod-template-hash
	all   bool          // lists have to ask for all pods of the namespace
	page  int           // so many a page; 0: all
	takes time.Duration // so long
	lists int           // first pages
	pages int
}

func (p *pods) List(ctx context.Context, r sibling.Revision, from string, pod func([]byte) error) (next string, err error) {
	p.mu.Lock()
	p.pages++
	if from == "" {
		p.lists++
	}
	list, page, takes, err := p.json, p.page, p.takes, p.err
	label := cmp.Or(p.label, "pod-template-hash")
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	byLabel := r.Label == label && r.Value != ""
	if r.Namespace != "n" || p.all != (r.Label == "") || !p.all && !byLabel {
		return "", fmt.Errorf("asked for %v", r)
	}
	if from != "" {
		begin, _ := strconv.Atoi(from)
		list = list[begin:]
	}
	if page > 0 && len(list) > page {
		begin, _ := strconv.Atoi(from)
		next, list = strconv.Itoa(begin+page), list[:page]
	}
	for _, j := range list {
		if err := pod([]byte(j)); err != nil {
			return "", err
		}
	}
	return next, err
}

func (p *pods) set(json ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.json = json
}

// wantLists compares the number of lists since the last time.
func (p *pods) wantLists(t *testing.T, when string, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lists != want {
		t.Errorf("%s: %d lists, want %d", when, p.lists, want)
	}
	p.lists = 0
}

// newPod is a pod to be created.
func newPod(owner, hash string) *workload.Object {
	return &workload.Object{Kind: workload.Kind{Kind: "Pod"}, Metadata: workload.Metadata{
		Controller: workload.Owner{Kind: "ReplicaSet", UID: owner}, Labels: map[string]string{"pod-template-hash": hash},
	}}
}

func newSiblings(t *testing.T, p *pods) *sibling.Siblings {
	t.Helper()
	s := &sibling.Siblings{Lister: p, Policy: &policy.Policy{}}
	t.Cleanup(s.Close)
	return s
}

// running asks for r:1, as a pod whose digest is decided by that. A failure counts as none.
func running(t *testing.T, s *sibling.Siblings, pod *workload.Object) digest.Digest {
	t.Helper()
	got, _, _ := s.Running(t.Context(), "n", pod, []string{"r:1"}, true)
	return got["r:1"]
}

// wantRunning asks for r:1, as one that is to be created, and compares all that it is told.
func wantRunning(t *testing.T, when string, s *sibling.Siblings, pod *workload.Object, want digest.Digest, wantFirst, wantErr bool) {
	t.Helper()
	got, first, err := s.Running(t.Context(), "n", pod, []string{"r:1"}, true)
	if got["r:1"] != want || first != wantFirst || (err != nil) != wantErr {
		t.Errorf("%s: Running = %q, first: %t, %v, want %q, %t, error: %t", when, got["r:1"], first, err, want, wantFirst, wantErr)
	}
}

// What the oldest pod of the revision runs counts, and of no other revision or owner.
func TestOldest(t *testing.T) {
	const young, old = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
	entry := `{"app":"r:1@` + d1.String() + `"}`
	for _, tt := range []struct {
		name   string
		output policy.Output
		pods   []string
		want   digest.Digest
	}{
		{name: "none"},
		{name: "one", pods: []string{podJSON("a", old, "u", "h", "", "app", "r:1@"+d1.String())}, want: d1},
		{name: "the older", want: d1, pods: []string{
			podJSON("a", young, "u", "h", "", "app", "r:1@"+d2.String()),
			podJSON("b", old, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "of one age, the first by name", want: d1, pods: []string{
			podJSON("b", old, "u", "h", "", "app", "r:1@"+d2.String()),
			podJSON("a", old, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "the oldest that is pinned", want: d1, pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r:1"),
			podJSON("b", young, "u", "h", "", "app", "r:1@"+d1.String()),
		}},
		{name: "another owner's", pods: []string{podJSON("a", old, "other", "h", "", "app", "r:1@"+d1.String())}},
		{name: "another revision's", pods: []string{podJSON("a", old, "u", "g", "", "app", "r:1@"+d1.String())}},
		{name: "another text", pods: []string{podJSON("a", old, "u", "h", "", "app", "r:2@"+d1.String())}},
		{name: "an author's of the same text too", want: d1, pods: []string{
			podJSON("a", old, "u", "h", entry, "first", "r:1@"+d2.String(), "app", "r:1@"+d1.String(), "last", "r:1@"+d2.String()),
		}},
		{name: "an annotation without its image", pods: []string{podJSON("a", old, "u", "h", entry, "app", "r:1")}},
		{name: "an annotation of another digest", want: d2, pods: []string{
			podJSON("a", old, "u", "h", entry, "app", "r:1@"+d2.String()),
		}},
		{name: "tags dropped, by the annotation", output: policy.DigestOnly, want: d1, pods: []string{
			podJSON("a", old, "u", "h", entry, "app", "r@"+d1.String()),
		}},
		{name: "tags dropped, not guessed", output: policy.DigestOnly, pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r@"+d1.String()),
		}},
		{name: "another algorithm, which tagpin does not write", pods: []string{
			podJSON("a", old, "u", "h", "", "app", "r:1@sha512:"+strings.Repeat("1", 128)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiblings(t, &pods{json: tt.pods})
			s.Policy.Output = tt.output
			if got := running(t, s, newPod("u", "h")); got != tt.want {
				t.Errorf("Running = %q, want %q", got, tt.want)
			}
		})
	}
}

// A pod that is of no revision costs no list.
func TestNoRevision(t *testing.T) {
	p := &pods{}
	s := newSiblings(t, p)
	for name, pod := range map[string]*workload.Object{
		"no controller":  newPod("", "h"),
		"no label":       newPod("u", ""),
		"a long owner":   newPod(strings.Repeat("u", 1000), "h"),
		"a long label":   newPod("u", strings.Repeat("h", 1000)),
		"nothing at all": {},
	} {
		wantRunning(t, name, s, pod, "", false, false)
		if got := s.Decide("n", pod, "r:1", d1); got != d1 {
			t.Errorf("%s: Decide = %s, want it as it was", name, got)
		}
	}
	p.wantLists(t, "pods without a revision", 0)
}

// The pods of one revision cost one list, also when they come at once.
func TestOneList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got := running(t, s, newPod("u", "h")); got != d1 {
					t.Errorf("Running = %q, want %q", got, d1)
				}
			})
		}
		wg.Wait()
		time.Sleep(29 * time.Second)
		running(t, s, newPod("u", "h"))
		p.wantLists(t, "one revision", 1)
		running(t, s, newPod("u", "g"))
		p.wantLists(t, "another", 1)
		time.Sleep(2 * time.Second)
		p.set()
		if got := running(t, s, newPod("u", "h")); got != "" {
			t.Errorf("after the TTL: %q, want what runs now: none", got)
		}
		p.wantLists(t, "after the TTL", 1)
	})
}

// A decision of our own holds until lists show it, and no longer than the TTL if they don't: its pod may never have been
// stored. The first one counts.
func TestOwnDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{}
		s := newSiblings(t, p)
		pod := newPod("u", "h")
		if got := running(t, s, pod); got != "" {
			t.Errorf("the first pod: %q, want none", got)
		}
		if first, second := s.Decide("n", pod, "r:1", d1), s.Decide("n", pod, "r:1", d2); first != d1 || second != d1 {
			t.Errorf("Decide = %s, then %s, want %s twice", first, second, d1)
		}
		time.Sleep(29 * time.Second)
		if got := running(t, s, pod); got != d1 {
			t.Errorf("soon: %q, want %s", got, d1)
		}
		p.wantLists(t, "soon", 1)
		time.Sleep(2 * time.Second)
		if got := running(t, s, pod); got != "" {
			t.Errorf("after the TTL, with no pod: %q, want none", got)
		}
		s.Decide("n", pod, "r:1", d2)
		time.Sleep(31 * time.Second)
		p.set(podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String()))
		if got := running(t, s, pod); got != d1 {
			t.Errorf("with a pod: %q, want what it runs, %s", got, d1)
		}
		if got := s.Decide("n", pod, "r:1", d2); got != d1 {
			t.Errorf("Decide = %s, want what runs, %s", got, d1)
		}
		p.wantLists(t, "after the TTL, twice", 2)
	})
}

// Two replicas see one revision: what one of them has seen before is no more than what runs.
func TestReplicasAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		one, other := newSiblings(t, p), newSiblings(t, p)
		running(t, one, newPod("u", "h"))
		p.set() // scaled to nothing
		time.Sleep(31 * time.Second)
		for _, s := range []*sibling.Siblings{one, other} {
			if got := running(t, s, newPod("u", "h")); got != "" {
				t.Errorf("with no pod left: %q, want none", got)
			}
		}
		other.Decide("n", newPod("u", "h"), "r:1", d2)
		p.set(podJSON("b", "", "u", "h", "", "app", "r:1@"+d2.String()))
		time.Sleep(31 * time.Second)
		for _, s := range []*sibling.Siblings{one, other} {
			if got := running(t, s, newPod("u", "h")); got != d2 {
				t.Errorf("scaled up again: %q, want %s", got, d2)
			}
		}
	})
}

// A list that fails takes nothing back of what was known.
func TestKnownBeforeListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		wantRunning(t, "at first", s, newPod("u", "h"), d1, false, false)
		p.err = errors.New("down")
		for range 3 {
			time.Sleep(time.Hour)
			wantRunning(t, "while lists fail", s, newPod("u", "h"), d1, false, false)
		}
	})
}

// Where the API server gives no answer nothing is known, and nobody is the first, for a second.
func TestListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{err: errors.New("down"), json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		for range 3 {
			wantRunning(t, "half a list", s, newPod("u", "h"), "", false, true)
		}
		p.wantLists(t, "failing", 1)
		p.err = nil
		time.Sleep(2 * time.Second)
		wantRunning(t, "again", s, newPod("u", "h"), d1, false, false)
	})
}

// A list that is not allowed is no reason to make no pods: they are pinned anew.
func TestForbidden(t *testing.T) {
	p := &pods{err: apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)}
	s := newSiblings(t, p)
	for range 3 {
		wantRunning(t, "forbidden", s, newPod("u", "h"), "", false, false)
	}
	p.wantLists(t, "forbidden", 1)
}

// A list that hangs ends by itself; who waits no longer than its context is not held up. Who comes next is not held up by
// another list that hangs.
func TestListHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{takes: time.Hour}
		s := newSiblings(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, first, err := s.Running(ctx, "n", newPod("u", "h"), []string{"r:1"}, true); first || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Running = first: %t, %v, want the context's end", first, err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v, want the context's second", took)
		}
		for range 5 {
			wantRunning(t, "hanging", s, newPod("u", "h"), "", false, true)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %v, want the list's ten seconds", took)
		}
		p.wantLists(t, "five pods", 1)
	})
}

// What an API server takes long to tell is there for the pod that comes again; who can do with what was known waits less.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{takes: 4 * time.Second, json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		for _, want := range []digest.Digest{"", d1} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			got, first, err := s.Running(ctx, "n", newPod("u", "h"), []string{"r:1"}, true)
			if cancel(); got["r:1"] != want || first || (err == nil) != (want != "") {
				t.Errorf("Running = %q, first: %t, %v, want %q, or an error", got["r:1"], first, err, want)
			}
		}
		p.wantLists(t, "slow", 1)
		time.Sleep(time.Minute)
		start := time.Now()
		wantRunning(t, "known", s, newPod("u", "h"), d1, false, false)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("waited %v, want two seconds, as it was known before", took)
		}
	})
}

// However many revisions are asked for at once, none of their pods is taken for the first while a sibling runs.
func TestManyRevisions(t *testing.T) {
	const many = 200
	synctest.Test(t, func(t *testing.T) {
		client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://api.example", QPS: 20, Burst: 40, Transport: owners{}})
		if err != nil {
			t.Fatal(err)
		}
		s := &sibling.Siblings{Lister: sibling.FromClient(client.CoreV1().RESTClient(), sibling.Places()), Policy: &policy.Policy{}}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				got, first, err := s.Running(ctx, "n", newPod("u", fmt.Sprint("h", i)), []string{"r:1"}, true)
				if got["r:1"] != d1 {
					t.Errorf("Running = %q, first: %t, %v, want %q", got["r:1"], first, err, d1)
				}
			})
		}
		wg.Wait()
	})
}

// owners is an API server that has one pod of each revision, and tells it at once.
type owners struct{}

func (owners) RoundTrip(r *http.Request) (*http.Response, error) {
	_, hash, _ := strings.Cut(r.URL.Query().Get("labelSelector"), "=")
	body := `{"items":[` + podJSON("a", "", "u", hash, "", "app", "r:1@"+d1.String()) + `]}`
	return &http.Response{
		StatusCode: http.StatusOK, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// Who is to decide for lack of a sibling has it listed anew, since another replica may have made one; who is not takes what
// is remembered.
func TestNoneIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{}
		s := newSiblings(t, p)
		wantRunning(t, "denied afterwards", s, newPod("u", "h"), "", true, false)
		p.wantLists(t, "denied afterwards", 1)
		p.set(podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String()))
		time.Sleep(time.Second)
		if got, first, err := s.Running(t.Context(), "n", newPod("u", "h"), []string{"r:1"}, false); len(got) > 0 || !first || err != nil {
			t.Errorf("stored nowhere: %q, first: %t, %v, want what is remembered: none", got, first, err)
		}
		p.wantLists(t, "stored nowhere", 0)
		wantRunning(t, "another replica made one", s, newPod("u", "h"), d1, false, false)
		wantRunning(t, "and then", s, newPod("u", "h"), d1, false, false)
		p.wantLists(t, "another replica made one", 1)
		got, first, err := s.Running(t.Context(), "n", newPod("u", "h"), []string{"r:1", "r:2", "r:1"}, true)
		if got["r:1"] != d1 || !first || err != nil {
			t.Errorf("with another text: %q, first: %t, %v, want what is found, and first", got, first, err)
		}
		p.wantLists(t, "another text", 1)
		p.err = errors.New("down")
		wantRunning(t, "found while lists fail", s, newPod("u", "h"), d1, false, false)
		got, first, err = s.Running(t.Context(), "n", newPod("u", "h"), []string{"r:1", "r:2"}, true)
		if got["r:1"] != d1 || first || err == nil {
			t.Errorf("with another text while lists fail: %q, first: %t, %v, want what is known and an error", got, first, err)
		}
	})
}

// A list is followed until what is wanted is found, and whoever is not found within a bound may be there all the same.
func TestPages(t *testing.T) {
	pinned := podJSON("z", "", "u", "h", "", "app", "r:1@"+d1.String())
	for _, tt := range []struct {
		name   string
		before int // pods that are not pinned
		after  int
		pages  int
		want   digest.Digest
		first  bool
	}{
		{"on the first page", 5, 100, 1, d1, false},
		{"on the third", 25, 100, 3, d1, false},
		{"on the last", 99, 0, 10, d1, false},
		{"none", 100, -1, 10, "", true},
		{"beyond the bound", 100, 50, 10, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pods{page: 10}
			for i := range tt.before {
				p.json = append(p.json, podJSON(fmt.Sprint(i), "", "u", "h", "", "app", "r:1"))
			}
			if tt.after >= 0 {
				p.json = append(p.json, pinned)
			}
			for i := range tt.after {
				p.json = append(p.json, podJSON(fmt.Sprint(i), "", "u", "h", "", "app", "r:1"))
			}
			s := newSiblings(t, p)
			wantRunning(t, tt.name, s, newPod("u", "h"), tt.want, tt.first, false)
			if p.pages != tt.pages {
				t.Errorf("%d pages, want %d", p.pages, tt.pages)
			}
		})
	}
}

// A list under way that ends with what another pod wants does not tell that there is no more.
func TestJoinedPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pods{page: 1, takes: time.Second, json: []string{
			podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String()),
			podJSON("b", "", "u", "h", "", "app", "r:2@"+d2.String()),
		}}
		s := newSiblings(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { wantRunning(t, "the first asked for", s, newPod("u", "h"), d1, false, false) })
		synctest.Wait()
		got, first, err := s.Running(t.Context(), "n", newPod("u", "h"), []string{"r:2"}, true)
		if got["r:2"] != d2 || first || err != nil {
			t.Errorf("the other: %q, first: %t, %v, want %q", got["r:2"], first, err, d2)
		}
		wg.Wait()
		p.wantLists(t, "two texts on two pages", 2)
	})
}

// What is remembered is bounded by revisions, and by bytes: texts are a tenant's.
func TestBounds(t *testing.T) {
	for name, s := range map[string]*sibling.Siblings{"revisions": {Size: 10}, "bytes": {Bytes: 4000}} {
		p := &pods{}
		s.Lister, s.Policy = p, &policy.Policy{}
		for i := range 100 {
			pod := newPod(fmt.Sprint(i), "h")
			running(t, s, pod)
			s.Decide("n", pod, "r:1", d1)
		}
		p.wantLists(t, name, 100)
		running(t, s, newPod("0", "h"))
		p.wantLists(t, name+": the first again", 1)
		running(t, s, newPod("99", "h"))
		p.wantLists(t, name+": the last again", 0)
		s.Close()
	}
}

// What one namespace makes tagpin remember does not push out what others have.
func TestNamespacesShareMemory(t *testing.T) {
	p := anyNamespace{}
	s := &sibling.Siblings{Lister: &p, Policy: &policy.Policy{}, Size: 10}
	defer s.Close()
	ask := func(namespace, owner string) {
		_, _, err := s.Running(t.Context(), namespace, newPod(owner, "h"), []string{"r:1"}, false)
		if err != nil {
			t.Error(err)
		}
	}
	ask("quiet", "u")
	for i := range 100 {
		ask("loud", fmt.Sprint(i))
	}
	if ask("quiet", "u"); p.lists != 101 {
		t.Errorf("%d lists, want 101: the quiet namespace's is remembered", p.lists)
	}
}

// anyNamespace is a Lister that knows no pods.
type anyNamespace struct{ lists int }

func (a *anyNamespace) List(
	context.Context, sibling.Revision, string, func([]byte) error,
) (string, error) {
	a.lists++
	return "", nil
}

// A panic while the pods of a revision are read is an error for those who wait, and no other list
// is made for a second.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var caught []*panics.Error
		p := &pods{json: []string{podJSON("a", "", "u", "h", "", "app", "r:1@"+d1.String())}}
		s := newSiblings(t, p)
		s.Policy = nil // a mistake of ours
		s.Panics = &panics.Reporter{Report: func(err *panics.Error) { caught = append(caught, err) }}
		for range 3 {
			wantRunning(t, "panicking", s, newPod("u", "h"), "", false, true)
		}
		if p.wantLists(t, "panicking", 1); len(caught) != 1 || len(caught[0].Stack) == 0 {
			t.Errorf("%d panics are reported, want one, with its stack", len(caught))
		}
	})
}

// Of one revision so many texts are remembered: a tenant's pods may have any number.
func TestTexts(t *testing.T) {
	const most = 128
	p := &pods{}
	s := newSiblings(t, p)
	running(t, s, newPod("u", "h"))
	var texts []string
	for i := range 10 * most {
		texts = append(texts, fmt.Sprint("r:", i))
		s.Decide("n", newPod("u", "h"), texts[i], d1)
	}
	if got, _, _ := s.Running(t.Context(), "n", newPod("u", "h"), texts, true); len(got) != most {
		t.Errorf("%d texts are remembered, want %d", len(got), most)
	}
}

// After Close nothing is listed.
func TestClosed(t *testing.T) {
	p := &pods{}
	s := newSiblings(t, p)
	s.Close()
	wantRunning(t, "closed", s, newPod("u", "h"), "", false, true)
	p.wantLists(t, "closed", 0)
}
