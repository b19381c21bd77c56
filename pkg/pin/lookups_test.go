// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// jobSet returns a JobSet with two pod templates. Both have the same images, but different pull
// identities.
func jobSet(t *testing.T, images ...string) *workload.Object {
	t.Helper()
	table, kind := new(workload.Table), workload.Kind{Group: "jobset.x-k8s.io", Kind: "JobSet"}
	if err := table.Add(kind, []string{"spec.replicatedJobs[*].template.spec.template"}, nil); err != nil {
		t.Fatal(err)
	}
	var containers []string
	for i, image := range images {
		containers = append(containers, `{"name":"c`+string(rune('0'+i))+`","image":"`+image+`"}`)
	}
	template := func(identity string) string {
		return `{"template":{"spec":{"template":{"spec":{` + identity + `,"containers":[` + strings.Join(containers, ",") + `]}}}}}`
	}
	o, err := table.Scan(kind, []byte(`{"spec":{"replicatedJobs":[`+
		template(`"serviceAccountName":"one"`)+`,`+template(`"imagePullSecrets":[{"name":"two"}]`)+`]}}`))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// keychainOf returns a keychain whose user is named after the identity.
func keychainOf(id workload.Identity) keychain.Keychain {
	user := id.ServiceAccount + strings.Join(id.PullSecrets, ",")
	return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return []keychain.Credential{{Auth: authn.AuthConfig{Username: user}}}
	})
}

// TestIdentities checks that the images of each pod spec are resolved with its own identity, and
// that a digest is not shared between identities.
func TestIdentities(t *testing.T) {
	resolver := resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		user := req.Keychain.Credentials(ctx, req.Ref, false)[0].Auth.Username
		return resolve.Result{Digest: resolvetest.Digest(user + " " + req.Ref.Canonical())}, nil
	})
	p := &pin.Pinner{Resolver: resolver}
	got := p.Pin(t.Context(), pin.Request{
		Input:     create(jobSet(t, "a.b/c:1", "a.b/d:1", "a.b/c:1")),
		Namespace: "ns", Keychain: keychainOf,
	})
	var want []string
	for _, user := range []string{"one", "two"} {
		for _, image := range []string{"a.b/c:1", "a.b/d:1", "a.b/c:1"} {
			want = append(want, image+"@"+resolvetest.Digest(user+" "+image).String())
		}
	}
	if diff := cmp.Diff(want, texts(got)); diff != "" {
		t.Errorf("Pin: -want +got\n%s", diff)
	}
}

// TestOncePerIdentity checks that one image is looked up once for each identity, even if it is
// spelled in several ways.
func TestOncePerIdentity(t *testing.T) {
	f := &resolvetest.Fake{}
	f.Set("nginx", resolvetest.Digest("1"))
	p := &pin.Pinner{Resolver: f}
	p.Pin(t.Context(), pin.Request{Input: create(jobSet(t, "nginx", "docker.io/library/nginx:latest", "index.docker.io/nginx"))})
	if n := f.Calls("nginx"); n != 2 {
		t.Errorf("%d lookups, want 2, one for each identity", n)
	}
}

// TestManyIdentities checks that grouping the images of thousands of pod specs by their pull
// identities takes time in proportion to their number.
func TestManyIdentities(t *testing.T) {
	const specs = 4000
	secrets := func(last string) []string { return append(slices.Repeat([]string{"a"}, 54), last) }
	reference := workload.Reference{Name: "app", Pointer: "/image", Text: "app:1"}
	o := &workload.Object{Kind: workload.Kind{Group: "x.example", Kind: "Set"}, Several: true}
	for i := range specs {
		o.PodSpecs = append(o.PodSpecs, workload.PodSpec{
			Key: fmt.Sprint(i), References: []workload.Reference{reference},
			Identity: workload.Identity{PullSecrets: secrets(fmt.Sprint(i % (specs / 2)))},
		})
	}
	var asked atomic.Int64
	p := &pin.Pinner{Resolver: resolve.Func(
		func(context.Context, resolve.Request) (resolve.Result, error) {
			asked.Add(1)
			return resolve.Result{}, failure.NotFound
		})}
	began := time.Now()
	p.Pin(t.Context(), pin.Request{Input: create(o), Namespace: "ns"})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Pin took %v for %d pod specs", took, specs)
	}
	if got := asked.Load(); got != specs/2 {
		t.Errorf("%d lookups for %d identities", got, specs/2)
	}
}

// TestOrder checks that the outcomes are in document order, whatever lookup ends first.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &resolvetest.Fake{}
		images := []string{"a:1", "b:1", "c:1"}
		var release []func()
		var want []string
		for _, image := range images {
			d := resolvetest.Digest(image)
			release = append(release, f.Hold(image, d))
			want = append(want, image+"@"+d.String())
		}
		done := make(chan pin.Result)
		go func() {
			p := &pin.Pinner{Resolver: f}
			done <- p.Pin(t.Context(), pin.Request{Input: create(deployment(t, images...))})
		}()
		for i := range release {
			synctest.Wait() // until the lookup before has ended
			release[len(release)-1-i]()
		}
		if diff := cmp.Diff(want, texts(<-done)); diff != "" {
			t.Errorf("Pin: -want +got\n%s", diff)
		}
	})
}

// TestOneHangs checks that a lookup that gets no answer doesn't fail the others.
func TestOneHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &resolvetest.Fake{}
		f.Set("a:1", resolvetest.Digest("a"))
		defer f.Hold("b:1", resolvetest.Digest("b"))()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan pin.Result)
		go func() {
			done <- (&pin.Pinner{Resolver: f}).Pin(ctx, pin.Request{Input: create(deployment(t, "b:1", "a:1"))})
		}()
		synctest.Wait()
		cancel()
		got := (<-done).Outcomes
		if !errors.Is(got[0].Err, failure.Unavailable) ||
			!got[0].Pin.IsZero() || !got[0].NewEntry.IsZero() {
			t.Errorf("outcome of the hanging lookup = %+v, want unavailable, and no pin", got[0])
		}
		if want := "a:1@" + resolvetest.Digest("a").String(); got[1].Err != nil || got[1].Pin.String() != want {
			t.Errorf("outcome of the other lookup = %+v, want %s", got[1], want)
		}
	})
}

// TestLate checks that no lookup begins after the context has ended.
func TestLate(t *testing.T) {
	images := make([]string, 200)
	for i := range images {
		images[i] = fmt.Sprintf("a.b/c:%d", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	resolver := resolve.Func(func(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
		if asked.Add(1) == 5 {
			cancel()
		}
		<-ctx.Done()
		return resolve.Result{}, failure.Unavailable
	})
	p := &pin.Pinner{Resolver: resolver}
	got := p.Pin(ctx, pin.Request{Input: create(deployment(t, images...))})
	if n := asked.Load(); n > 20 {
		t.Errorf("%d lookups, want only those that were under way", n)
	}
	for _, o := range got.Outcomes {
		if !errors.Is(o.Err, failure.Unavailable) || !o.Pin.IsZero() {
			t.Fatalf("%s: %v, pin %s, want unavailable", o.Reference.Text, o.Err, o.Pin)
		}
	}
	want := "a.b: no answer within the time allowed"
	if got := got.Outcomes[199].Err.Error(); got != want {
		t.Errorf("the last outcome is %q, want %q", got, want)
	}
}

// TestFlags checks that Cached and Stale are set for every reference that shares a lookup, and for
// a failed lookup too.
func TestFlags(t *testing.T) {
	answers := map[string]resolve.Result{"stale": {Cached: true, Stale: true}, "cached": {Cached: true}, "asked": {}}
	resolver := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		result, ok := answers[strings.TrimPrefix(req.Ref.Path(), "library/")]
		if !ok {
			return resolve.Result{Cached: true}, failure.NotFound
		}
		result.Digest = resolvetest.Digest("1")
		return result, nil
	})
	got := (&pin.Pinner{Resolver: resolver}).Pin(t.Context(), pin.Request{
		Input: create(deployment(t, "stale", "cached", "asked", "cached:latest", "none")),
	})
	type flags struct{ Cached, Stale, Failed bool }
	var list []flags
	for _, o := range got.Outcomes {
		list = append(list, flags{o.Cached, o.Stale, o.Err != nil})
	}
	want := []flags{
		{true, true, false}, {true, false, false}, {}, {true, false, false}, {true, false, true},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("Pin: -want +got\n%s", diff)
	}
}

// TestAnonymous checks that a request without a Keychain leads to an anonymous lookup.
func TestAnonymous(t *testing.T) {
	f := &resolvetest.Fake{}
	f.Set("nginx", digest.FromString("1"))
	(&pin.Pinner{Resolver: f}).Pin(t.Context(), pin.Request{Input: create(deployment(t, "nginx"))})
	asked := f.Asked()
	if len(asked) != 1 || asked[0].Keychain != nil || len(asked[0].Credentials) > 0 {
		t.Errorf("lookups %+v, want one without credentials", asked)
	}
}

// TestConcurrent checks that no more than 16 lookups of one object are under way at a time.
func TestConcurrent(t *testing.T) {
	for images, want := range map[int]int{16: 16, 17: 16} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{hold: make(chan struct{})}
			var texts []string
			for i := range images {
				texts = append(texts, fmt.Sprintf("a:%d", i))
			}
			p := &pin.Pinner{Resolver: b}
			go p.Pin(t.Context(), pin.Request{Input: create(deployment(t, texts...))})
			synctest.Wait()
			b.mu.Lock()
			if n := len(b.asked); n != want {
				t.Errorf("%d images: %d lookups under way, want %d", images, n, want)
			}
			b.mu.Unlock()
			close(b.hold)
		})
	}
}

// TestManyImages checks that an object with many images has few lookups under way at a time,
// and one lookup for each image.
func TestManyImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{hold: make(chan struct{})}
		var images []string
		for i := range 1000 {
			images = append(images, fmt.Sprintf("a:%d", i%500))
		}
		done := make(chan pin.Result)
		go func() {
			p := &pin.Pinner{Resolver: b}
			done <- p.Pin(t.Context(), pin.Request{Input: create(deployment(t, images...))})
		}()
		synctest.Wait()
		b.mu.Lock()
		if n := len(b.asked); n != 16 {
			t.Errorf("%d lookups under way, want 16", n)
		}
		b.mu.Unlock()
		close(b.hold)
		got := <-done
		for i, o := range got.Outcomes {
			if o.Pin.String() != pinOf(images[i], fmt.Sprintf("docker.io/library/a:%d", i%500)) {
				t.Fatalf("outcome %d of %s = %+v, want the image's own digest", i, images[i], o)
			}
		}
		if n := len(b.asked); n != 500 || len(got.Outcomes) != 1000 {
			t.Errorf("%d lookups and %d outcomes, want 500 and 1000", n, len(got.Outcomes))
		}
	})
}

// TestPodOfController checks that the lookups for a pod of a controller run one after another while
// they are quick, as they are if the answers are remembered, and otherwise side by side.
func TestPodOfController(t *testing.T) {
	for took, want := range map[time.Duration]int{time.Microsecond: 1, time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			now, most := 0, 0
			count := func(more int) {
				mu.Lock()
				defer mu.Unlock()
				now += more
				most = max(most, now)
			}
			resolver := resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
				count(1)
				time.Sleep(took)
				count(-1)
				return resolve.Result{Digest: resolvetest.Digest("1")}, nil
			})
			pod := controlledPod(t, "a:1", "b:1", "c:1")
			got := (&pin.Pinner{Resolver: resolver}).Pin(t.Context(), pin.Request{Input: create(pod)})
			if most != want {
				t.Errorf("lookups of %v: %d at a time, want %d", took, most, want)
			}
			for _, o := range got.Outcomes {
				if o.Err != nil || o.Pin.IsZero() {
					t.Errorf("outcome of %s = %+v, want a pin", o.Reference.Text, o)
				}
			}
		})
	}
}
