// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// jobSet has two pod templates with identities of their own, and the images given, the same in both.
func jobSet(t *testing.T, images ...string) *workload.Object {
	t.Helper()
	table, err := workload.NewTable(workload.Template{Group: "jobset.x-k8s.io", Kind: "JobSet", Paths: []string{"spec.replicatedJobs[*].template.spec.template"}})
	if err != nil {
		t.Fatal(err)
	}
	var containers []string
	for i, image := range images {
		containers = append(containers, `{"name":"c`+string(rune('0'+i))+`","image":"`+image+`"}`)
	}
	template := func(identity string) string {
		return `{"template":{"spec":{"template":{"spec":{` + identity + `,"containers":[` + strings.Join(containers, ",") + `]}}}}}`
	}
	o, err := table.Scan(workload.Kind{Group: "jobset.x-k8s.io", Kind: "JobSet"}, []byte(`{"spec":{"replicatedJobs":[`+
		template(`"serviceAccountName":"one"`)+`,`+template(`"imagePullSecrets":[{"name":"two"}]`)+`]}}`))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// who is the identity that a keychain of keychainOf was made for.
func who(id workload.Identity) string {
	return id.ServiceAccount + strings.Join(id.PullSecrets, ",")
}

func keychainOf(id workload.Identity) keychain.Keychain {
	return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return []keychain.Credential{{Auth: authn.AuthConfig{Username: who(id)}}}
	})
}

// TestIdentities: each pod spec's images are asked for as its own identity, whose digests the others don't get.
func TestIdentities(t *testing.T) {
	resolver := resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		user := req.Keychain.Credentials(ctx, req.Ref, false)[0].Auth.Username
		return resolve.Result{Digest: resolvetest.Digest(user + " " + req.Ref.Canonical())}, nil
	})
	p := &pin.Pinner{Resolver: resolver}
	got := p.Pin(t.Context(), pin.Request{Input: create(jobSet(t, "a.b/c:1", "a.b/d:1", "a.b/c:1")), Namespace: "ns", Keychain: keychainOf})
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

// TestOncePerIdentity: the same image is one look-up of one identity, however often and however it is written.
func TestOncePerIdentity(t *testing.T) {
	f := &resolvetest.Fake{}
	f.Set("nginx", resolvetest.Digest("1"))
	p := &pin.Pinner{Resolver: f}
	p.Pin(t.Context(), pin.Request{Input: create(jobSet(t, "nginx", "docker.io/library/nginx:latest", "index.docker.io/nginx"))})
	if n := f.Calls("nginx"); n != 2 {
		t.Errorf("%d look-ups, want one of each of the two identities", n)
	}
}

// TestOrder: outcomes stand in document order, whichever look-up ends first.
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
			done <- (&pin.Pinner{Resolver: f}).Pin(t.Context(), pin.Request{Input: create(deployment(t, images...))})
		}()
		for i := range release {
			synctest.Wait() // the one before has ended
			release[len(release)-1-i]()
		}
		if diff := cmp.Diff(want, texts(<-done)); diff != "" {
			t.Errorf("Pin: -want +got\n%s", diff)
		}
	})
}

// TestOneHangs: one look-up that gets no answer costs the others nothing but the time.
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
		if !errors.Is(got[0].Err, resolve.ErrUnavailable) || !got[0].Pin.IsZero() || !got[0].Entry.IsZero() {
			t.Errorf("outcome of what hangs = %+v, want unavailable, and no pin", got[0])
		}
		if want := "a:1@" + resolvetest.Digest("a").String(); got[1].Err != nil || got[1].Pin.String() != want {
			t.Errorf("outcome beside it = %+v, want %s", got[1], want)
		}
	})
}

// TestLate: once the time is over nothing more is looked up, however many images there are.
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
		return resolve.Result{}, resolve.ErrUnavailable
	})
	p := &pin.Pinner{Resolver: resolver}
	got := p.Pin(ctx, pin.Request{Input: create(deployment(t, images...))})
	if n := asked.Load(); n > 20 {
		t.Errorf("%d look-ups, want no more than were under way", n)
	}
	for _, o := range got.Outcomes {
		if !errors.Is(o.Err, resolve.ErrUnavailable) || !o.Pin.IsZero() {
			t.Fatalf("%s: %v, pin %s, want it unavailable", o.Reference.Text, o.Err, o.Pin)
		}
	}
	want := "a.b: no answer within the time allowed"
	if got := got.Outcomes[199].Err.Error(); got != want {
		t.Errorf("the last outcome is %q, want %q", got, want)
	}
}

// TestFlags: what was remembered is told, for all references of a look-up, be it a failure.
func TestFlags(t *testing.T) {
	answers := map[string]resolve.Result{"stale": {Cached: true, Stale: true}, "cached": {Cached: true}, "asked": {}}
	resolver := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
		result, ok := answers[strings.TrimPrefix(req.Ref.Path(), "library/")]
		if !ok {
			return resolve.Result{Cached: true}, resolve.ErrNotFound
		}
		result.Digest = resolvetest.Digest("1")
		return result, nil
	})
	got := (&pin.Pinner{Resolver: resolver}).Pin(t.Context(), pin.Request{Input: create(deployment(t, "stale", "cached", "asked", "cached:latest", "none"))})
	type flags struct{ Cached, Stale, Failed bool }
	var list []flags
	for _, o := range got.Outcomes {
		list = append(list, flags{o.Cached, o.Stale, o.Err != nil})
	}
	want := []flags{{true, true, false}, {true, false, false}, {}, {true, false, false}, {true, false, true}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("Pin: -want +got\n%s", diff)
	}
}

// TestDryRunUpdate: what stays and what is proposed when some texts of an object change.
func TestDryRunUpdate(t *testing.T) {
	const pinned = "pinned:1"
	held := pinOf(pinned, "held")
	for _, tt := range []struct {
		name     string
		old, new []string
		want     []string // what a reference would hold; blank: as it is
		actions  []policy.Action
	}{
		{
			"a pin is put back, the rest is proposed",
			[]string{held, "old:1"},
			[]string{pinned, "old:1", "new:1"},
			[]string{held, pinOf("old:1", "docker.io/library/old:1"), pinOf("new:1", "docker.io/library/new:1")},
			[]policy.Action{policy.Restore, policy.Resolve, policy.Resolve},
		},
		{
			"only a pin is put back: nothing new to propose",
			[]string{held, "old:1"},
			[]string{pinned, "old:1"},
			[]string{held, ""},
			[]policy.Action{policy.Restore, policy.Leave},
		},
		{
			"a new container has the digest that is kept",
			[]string{held},
			[]string{held, pinned},
			[]string{"", held},
			[]policy.Action{policy.Leave, policy.Resolve},
		},
		{
			"what a creation leaves is not proposed",
			[]string{"!never:1", held},
			[]string{"!never:1", held, "new:1"},
			[]string{"", "", pinOf("new:1", "docker.io/library/new:1")},
			[]policy.Action{policy.Leave, policy.Leave, policy.Resolve},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pin.Pinner{Resolver: &backend{}}
			got := p.Pin(t.Context(), pin.Request{Mode: pin.DryRun, Input: policy.Input{
				Operation: policy.Update, Object: deployment(t, tt.new...), Old: deployment(t, tt.old...),
			}})
			if diff := cmp.Diff(tt.want, texts(got)); diff != "" {
				t.Errorf("Pin: -want +got\n%s", diff)
			}
			var actions []policy.Action
			for _, o := range got.Outcomes {
				actions = append(actions, o.Action)
			}
			if diff := cmp.Diff(tt.actions, actions); diff != "" {
				t.Errorf("actions: -want +got\n%s", diff)
			}
		})
	}
}

// TestDigestOnlyRestores: a pin that is put back stays as it was written, and its entry has the tag.
func TestDigestOnlyRestores(t *testing.T) {
	old := deployment(t, pinOf("nginx:1", "held"))
	p := &pin.Pinner{Policy: policy.Policy{Output: policy.DigestOnly}, Resolver: &backend{}}
	got := p.Pin(t.Context(), pin.Request{Input: policy.Input{Operation: policy.Update, Object: deployment(t, "nginx:1", "nginx:1"), Old: old}}).Outcomes
	if want := pinOf("nginx:1", "held"); got[0].Pin.String() != want || got[0].Entry.String() != want {
		t.Errorf("put back: %s, entry %s, want %s", got[0].Pin, got[0].Entry, want)
	}
	if got[1].Pin.String() != pinOf("nginx", "held") || got[1].Entry.String() != pinOf("nginx:1", "held") {
		t.Errorf("kept: %s, entry %s, want the digest alone, and the text in the entry", got[1].Pin, got[1].Entry)
	}
}

// TestAnonymous: without a source of credentials there is none, and no panic.
func TestAnonymous(t *testing.T) {
	f := &resolvetest.Fake{}
	f.Set("nginx", digest.FromString("1"))
	(&pin.Pinner{Resolver: f}).Pin(t.Context(), pin.Request{Input: create(deployment(t, "nginx"))})
	if asked := f.Asked(); len(asked) != 1 || asked[0].Keychain != nil || len(asked[0].Credentials) > 0 {
		t.Errorf("asked %+v, want no credentials", asked)
	}
}

// An object with very many images has so many look-ups under way at a time, and still one of each image.
func TestManyImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{hold: make(chan struct{})}
		var images []string
		for i := range 1000 {
			images = append(images, fmt.Sprintf("a:%d", i%500))
		}
		done := make(chan pin.Result)
		go func() {
			done <- (&pin.Pinner{Resolver: b}).Pin(t.Context(), pin.Request{Input: create(deployment(t, images...))})
		}()
		synctest.Wait()
		b.mu.Lock()
		if n := len(b.asked); n != 16 {
			t.Errorf("%d look-ups under way, want 16", n)
		}
		b.mu.Unlock()
		close(b.hold)
		got := <-done
		for i, o := range got.Outcomes {
			if o.Pin.String() != pinOf(images[i], fmt.Sprintf("docker.io/library/a:%d", i%500)) {
				t.Fatalf("outcome %d of %s: %+v", i, images[i], o)
			}
		}
		if n := len(b.asked); n != 500 || len(got.Outcomes) != 1000 {
			t.Errorf("%d look-ups and %d outcomes, want 500 and 1000", n, len(got.Outcomes))
		}
	})
}
