// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a Resolver. The digest of an image is the hash of its canonical name. A repository
// whose name contains "missing" is not found.
type backend struct {
	mu    sync.Mutex
	asked []resolve.Request
	hold  chan struct{} // if not nil, each lookup waits until it is closed or the context ends
}

func (b *backend) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	b.mu.Lock()
	b.asked = append(b.asked, req)
	b.mu.Unlock()
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return resolve.Result{}, fmt.Errorf("%w: %w", failure.Unavailable, ctx.Err())
		}
	}
	if strings.Contains(req.Ref.Path(), "missing") {
		return resolve.Result{}, fmt.Errorf("gone: %w", failure.NotFound)
	}
	return resolve.Result{Digest: digestOf(req.Ref.Canonical())}, nil
}

func digestOf(s string) digest.Digest { return digest.FromString(s) }

// pinOf returns text with the digest of a canonical name.
func pinOf(text, canonical string) string { return text + "@" + digestOf(canonical).String() }

// deployment returns a Deployment with a container for each image: c0, c1, and so on. A container
// whose image begins with "!" has the pull policy Never.
func deployment(t testing.TB, images ...string) *workload.Object {
	t.Helper()
	var containers []map[string]string
	for i, image := range images {
		c := map[string]string{"name": fmt.Sprintf("c%d", i), "image": strings.TrimPrefix(image, "!")}
		if strings.HasPrefix(image, "!") {
			c["imagePullPolicy"] = "Never"
		}
		containers = append(containers, c)
	}
	return scan(t, "apps", "Deployment", map[string]any{"spec": map[string]any{
		"template": map[string]any{"spec": map[string]any{"containers": containers}},
	}})
}

func scan(t testing.TB, group, kind string, object any) *workload.Object {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	o, err := new(workload.Table).Scan(workload.Kind{Group: group, Kind: kind}, raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// texts returns the pin or the error of each outcome. The text is empty if the reference is left
// alone.
func texts(r pin.Result) []string {
	var list []string
	for _, o := range r.Outcomes {
		if o.Err != nil {
			list = append(list, "error: "+o.Err.Error())
			continue
		}
		list = append(list, o.Pin.String())
	}
	return list
}

func create(o *workload.Object) policy.Input {
	return policy.Input{Operation: policy.Create, Object: o}
}

func TestPin(t *testing.T) {
	const nginx = "docker.io/library/nginx:1"
	for _, tt := range []struct {
		name   string
		mode   policy.Mode
		output policy.Output
		input  policy.Input
		want   []string
		asked  int // lookups
	}{
		{"one lookup for each image, in document order", policy.Enforce, policy.TagAndDigest, create(deployment(t, "nginx:1", "a.b/c", "docker.io/library/nginx:1", "!x")), []string{pinOf("nginx:1", nginx), pinOf("a.b/c", "a.b/c:latest"), pinOf(nginx, nginx), ""}, 2},
		{"a failed lookup and another one", policy.Enforce, policy.TagAndDigest, create(deployment(t, "a.b/missing", "nginx:1")), []string{"error: gone: not found", pinOf("nginx:1", nginx)}, 2},
		{"digest only", policy.Enforce, policy.DigestOnly, create(deployment(t, "nginx:1", "nginx")), []string{pinOf("nginx", nginx), pinOf("nginx", "docker.io/library/nginx:latest")}, 2},
		{"keep makes no pin", policy.Keep, policy.TagAndDigest, create(deployment(t, "nginx:1")), []string{""}, 0},
		{"keep restores a pin", policy.Keep, policy.TagAndDigest, policy.Input{Operation: policy.Update, Object: deployment(t, "nginx:1", "new:1"), Old: deployment(t, pinOf("nginx:1", "old"))}, []string{pinOf("nginx:1", "old"), ""}, 0},
		{"a sticky pin needs no lookup", policy.Enforce, policy.TagAndDigest, policy.Input{Operation: policy.Update, Object: deployment(t, "nginx:1"), Old: deployment(t, pinOf("nginx:1", "old"))}, []string{pinOf("nginx:1", "old")}, 0},
		{"a new container takes the digest of a kept pin", policy.Enforce, policy.TagAndDigest, policy.Input{Operation: policy.Update, Object: deployment(t, "nginx:1", "nginx:1"), Old: deployment(t, pinOf("nginx:1", "old"))}, []string{pinOf("nginx:1", "old"), pinOf("nginx:1", "old")}, 0},
		{"dry-run proposes pins for all references", policy.Propose, policy.TagAndDigest, policy.Input{Operation: policy.Update, Object: deployment(t, "a.b/c", "nginx:1"), Old: deployment(t, "a.b/c", "nginx:0")}, []string{pinOf("a.b/c", "a.b/c:latest"), pinOf("nginx:1", nginx)}, 2},
		{"enforce leaves an unchanged reference", policy.Enforce, policy.TagAndDigest, policy.Input{Operation: policy.Update, Object: deployment(t, "a.b/c", "nginx:1"), Old: deployment(t, "a.b/c", "nginx:0")}, []string{"", pinOf("nginx:1", nginx)}, 1},
		{"dry-run leaves an unchanged object", policy.Propose, policy.TagAndDigest, policy.Input{Operation: policy.Update, Object: deployment(t, "a.b/c"), Old: deployment(t, "a.b/c")}, []string{""}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &backend{}
			p := &pin.Pinner{Policy: policy.Policy{Output: tt.output}, Resolver: b}
			tt.input.Mode = tt.mode
			got := p.Pin(t.Context(), pin.Request{Input: tt.input})
			if diff := cmp.Diff(tt.want, texts(got)); diff != "" {
				t.Errorf("Pin: -want +got\n%s", diff)
			}
			if len(b.asked) != tt.asked {
				t.Errorf("%d lookups, want %d", len(b.asked), tt.asked)
			}
		})
	}
}

// TestNewEntry checks that an entry has the tag even if the pin does not.
func TestNewEntry(t *testing.T) {
	p := &pin.Pinner{Policy: policy.Policy{Output: policy.DigestOnly}, Resolver: &backend{}}
	got := p.Pin(t.Context(), pin.Request{Input: create(deployment(t, "nginx:1"))}).Outcomes[0]
	if want := pinOf("nginx:1", "docker.io/library/nginx:1"); got.NewEntry.String() != want {
		t.Errorf("NewEntry = %s, want %s", got.NewEntry, want)
	}
}

func TestSkipped(t *testing.T) {
	o := scan(t, "apps", "ReplicaSet", map[string]any{"metadata": map[string]any{
		"ownerReferences": []any{map[string]any{"controller": true, "kind": "Deployment"}},
	}})
	got := (&pin.Pinner{Resolver: &backend{}}).Pin(t.Context(), pin.Request{Input: create(o)})
	if got.Skipped != policy.Controlled || len(got.Outcomes) > 0 {
		t.Errorf("Pin = %+v, want it skipped as %s", got, policy.Controlled)
	}
}

// TestConcurrentLookups checks that the lookups of an object run at the same time, with the
// identity of the pod spec, and that a workload takes no answer from a cache.
func TestConcurrentLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{hold: make(chan struct{})}
		var mu sync.Mutex
		var identities []workload.Identity
		req := pin.Request{
			Input: create(deployment(t, "a:1", "b:1", "c:1")), Namespace: "ns",
			Keychain: func(id workload.Identity) keychain.Keychain {
				mu.Lock()
				defer mu.Unlock()
				identities = append(identities, id)
				return keychain.Chain{}
			},
		}
		done := make(chan pin.Result)
		go func() { done <- (&pin.Pinner{Resolver: b}).Pin(t.Context(), req) }()
		synctest.Wait()
		b.mu.Lock()
		for _, r := range b.asked {
			if !r.Fresh || r.Namespace != "ns" || r.Keychain == nil {
				t.Errorf("request = %+v, want it fresh, with the namespace and a keychain", r)
			}
		}
		if len(b.asked) != 3 {
			t.Errorf("%d lookups under way, want 3", len(b.asked))
		}
		b.mu.Unlock()
		close(b.hold)
		if got := <-done; len(got.Outcomes) != 3 || got.Outcomes[2].Pin.IsZero() {
			t.Errorf("Pin = %+v, want three outcomes with pins", got)
		}
		if len(identities) != 3 {
			t.Errorf("%d identities, want 3", len(identities))
		}
	})
}

// controlledPod returns a Pod that a controller made.
func controlledPod(t *testing.T, images ...string) *workload.Object {
	t.Helper()
	var containers []any
	for _, image := range images {
		containers = append(containers, map[string]any{"name": image, "image": image})
	}
	return scan(t, "", "Pod", map[string]any{
		"metadata": map[string]any{"ownerReferences": []any{
			map[string]any{"controller": true, "kind": "ReplicaSet", "apiVersion": "apps/v1"},
		}},
		"spec": map[string]any{"containers": containers},
	})
}

// TestControlledPod checks that a pod of a controller may take an answer from the cache.
func TestControlledPod(t *testing.T) {
	b := &backend{}
	pod := controlledPod(t, "a:1")
	(&pin.Pinner{Resolver: b}).Pin(t.Context(), pin.Request{Input: create(pod)})
	if len(b.asked) != 1 || b.asked[0].Fresh {
		t.Errorf("lookups %+v, want one that is not fresh", b.asked)
	}
}

// TestContextEnds checks that all lookups end with the context, and that Pin then returns.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := &pin.Pinner{Resolver: &backend{hold: make(chan struct{})}}
		done := make(chan pin.Result)
		go func() { done <- p.Pin(ctx, pin.Request{Input: create(deployment(t, "a:1", "b:1"))}) }()
		synctest.Wait()
		cancel()
		for _, o := range (<-done).Outcomes {
			if !errors.Is(o.Err, failure.Unavailable) || !o.Pin.IsZero() {
				t.Errorf("outcome = %+v, want unavailable", o)
			}
		}
	})
}
