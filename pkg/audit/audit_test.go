// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// one returns a pod with one container.
func one(image, imageID string) audit.Pod {
	return audit.Pod{Namespace: "ns", Name: "p", Containers: []audit.Container{
		{Name: "c", Type: audit.TypeContainer, Image: image, ImageID: imageID},
	}}
}

// report audits pods.
func report(t *testing.T, a *audit.Auditor, pods ...audit.Pod) *audit.Report {
	t.Helper()
	c := &audit.Collector{}
	for _, p := range pods {
		c.Add(p)
	}
	r, err := a.Report(t.Context(), c)
	return check(t, r, err)
}

const (
	nothing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	hub     = "docker.io/library/app"
)

// TestStates checks the states of each kind of image and status, as the runtimes write it.
func TestStates(t *testing.T) {
	f := newFixture(t)
	push := f.pusher(t)
	v1 := push.image("app:1", "one")
	push.image("moved:1", "one")
	now := push.image("moved:1", "two")
	wasIndex, was := push.index("multi:1", "a", "b")
	isIndex, _ := push.index("multi:1", "a", "b", "c")
	push.index("attested:1", "a", "attestation 1")
	attestedIndex, _ := push.index("attested:2", "a", "attestation 2")
	old, _ := push.index("attested:1", "a", "attestation 1")
	push.index("attested:1", "a", "attestation 2")
	rebuilt, _ := push.index("rebuilt:1", "a", "b")
	push.index("rebuilt:1", "a", "d")
	lost := push.image("lost:1", "lost")
	push.remove("lost@" + lost)
	push.image("lost:1", "new")
	untagged := push.image("untagged:1", "one")
	push.remove("untagged:1")
	push.image("private/app:1", "one")
	at := func(rest string) string { return f.host + "/" + rest }
	for _, tt := range []struct{ name, image, id, states, detail string }{
		{"pinned", at("app:1@" + v1), at("app@" + v1), "pinned", ""},
		{"pinned without a tag", at("app@" + v1), at("app@" + v1), "pinned", ""},
		{"pinned and not started", at("app:1@" + v1), "", "pinned", ""},
		{"pinned, and the config's digest alone", at("app:1@" + v1), nothing, "pinned", ""},
		{"pinned and moved", at("moved:1@" + v1), "", "drifted pinned", "now " + now},
		{"pinned and gone", at("app:1@" + nothing), at("app@" + nothing), "gone drifted pinned", "no longer has the digest"},
		{"pinned, and was never there", at("app@" + nothing), "", "unknown pinned", "it has not started, and the registry does not have the digest"},
		{"tag that was never there", at("app:typo"), "", "unknown unpinned", "it has not started, and the registry does not have the tag"},
		{"pinned, and the tag is gone", at("untagged:1@" + untagged), "", "pinned", "the tag no longer exists"},
		{"tag", at("app:1"), at("app@" + v1), "unpinned", ""},
		{"tag, of Docker", at("app:1"), "docker-pullable://" + at("app@"+v1), "unpinned", ""},
		{"no tag", at("app"), at("app@" + v1), "gone unpinned", "no longer has the tag"},
		{"tag that has moved", at("moved:1"), at("moved@" + v1), "drifted unpinned", "now " + now},
		{"tag that has moved, digest gone", at("lost:1"), at("lost@" + lost), "gone drifted unpinned", "no longer has the digest"},
		{"tag that is gone", at("untagged:1"), at("untagged@" + untagged), "gone unpinned", "no longer has the tag"},
		{"not started", at("app:1"), "", "unpinned", "it has not started"},
		{"built on the node", at("app:1"), "sha256:" + nothing[7:], "unknown unpinned", "built or loaded there"},
		{"built on the node, of Docker", at("app:1"), "docker://" + nothing, "unknown unpinned", "built or loaded there"},
		{"built on the node, of CRI-O", at("app:1"), nothing[7:], "unknown unpinned", "built or loaded there"},
		{"index", at("multi:1"), at("multi@" + isIndex), "unpinned", ""},
		{"manifest of a platform", at("multi:1"), at("multi@" + was[1]), "unpinned", ""},
		{"index with one more platform", at("multi:1"), at("multi@" + wasIndex), "unpinned", ""},
		{"index with another attestation", at("attested:1"), at("attested@" + old), "unpinned", ""},
		{"index of another tag", at("attested:1"), at("attested@" + attestedIndex), "unpinned", ""},
		{"index with another manifest", at("rebuilt:1"), at("rebuilt@" + rebuilt), "drifted unpinned", "now"},
		{"known by another name, same digest", at("app:1"), hub + "@" + v1, "unpinned", ""},
		{"known by another name, manifest", at("multi:1"), hub + "@" + was[0], "unpinned", ""},
		{"known by another name", at("moved:1"), hub + "@" + v1, "unknown unpinned", "the node knows the image as " + hub},
		{"no login", at("private/app:1"), at("private/app@" + v1), "unknown unpinned", "401"},
		{"busy", at("busy/app:1@" + v1), "", "unknown pinned", "503"},
		{"loopback", "localhost:1/app:1@" + v1, "", "unknown pinned", "localhost:1 is each node itself"},
		{"loopback by its address", "127.1.2.3/app:1", "", "unknown unpinned", "127.1.2.3 is each node itself"},
		{"loopback of IPv6", "[::1]:5000/app:1", "", "unknown unpinned", "[::1]:5000 is each node itself"},
		{"loopback with a zone of its own", "app.localhost:5000/app:1", "", "unknown unpinned", "app.localhost:5000 is each node itself"},
		{"loopback of IPv4 in IPv6", "[::ffff:7f00:1]:5000/app:1", "", "unknown unpinned", "is each node itself"},
		{"invalid", "App:\x1b[31m", "", "unknown unpinned", "invalid image reference"},
		{"built on the node, and the registry has no such tag", at("local:dev"), nothing, "unknown unpinned", "built or loaded there"},
		{"exempt", at("app:exempt"), at("app@" + v1), "gone exempt", "no longer has the tag"},
		{"status of another form", at("app:1"), "what", "unknown unpinned", "built or loaded there"},
	} {
		a := &audit.Auditor{Images: f.images(t), Exempt: func(r ref.Reference) bool { return r.Tag() == "exempt" }}
		r := report(t, a, one(tt.image, tt.id))
		var states []string
		for _, s := range r.Containers[0].States {
			states = append(states, string(s))
		}
		detail := strings.Join(r.Containers[0].Details, "; ")
		if now := r.Containers[0].TagNow(); now != "" {
			detail += "; now " + now.String()
		}
		if got := strings.Join(states, " "); got != tt.states || !strings.Contains(detail, tt.detail) {
			t.Errorf("%s: %s runs %s: %s (%s), want %s (%s)", tt.name, tt.image, tt.id, got, detail, tt.states, tt.detail)
		}
		if text := detail + r.Containers[0].Image; strings.ContainsRune(text, '\x1b') {
			t.Errorf("%s: %q has an escape character", tt.name, text)
		}
	}
}

// TestVolume checks the states of an image volume with each status. The status of nodes before
// Kubernetes 1.35 has no image of a volume, and a runtime may report only the digest of its config.
func TestVolume(t *testing.T) {
	f := newFixture(t)
	push := f.pusher(t)
	was := push.image("app:1", "one")
	now := push.image("app:1", "two")
	const unknown = "does not name the digest of a volume's image"
	for _, tt := range []struct{ id, states, detail string }{
		{"", "unknown unpinned", unknown},
		{nothing, "unknown unpinned", unknown},
		{nothing[7:], "unknown unpinned", unknown},
		{f.host + "/app@" + now, "unpinned", ""},
		{f.host + "/app@" + was, "drifted unpinned", ""},
	} {
		p := one(f.host+"/app:1", tt.id)
		p.Containers[0].Type, p.Containers[0].Mounted = audit.TypeVolume, true
		found := report(t, &audit.Auditor{Images: f.images(t)}, p).Containers[0]
		var states []string
		for _, s := range found.States {
			states = append(states, string(s))
		}
		detail := strings.Join(found.Details, "; ")
		if strings.Join(states, " ") != tt.states || !strings.Contains(detail, tt.detail) {
			t.Errorf("%q: %s (%s), want %s (%s)", tt.id, states, detail, tt.states, tt.detail)
		}
	}
}

// TestNeverPulled checks that nothing is asked about images that are never pulled.
func TestNeverPulled(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		image string
		want  audit.State
	}{
		{f.host + "/none:1", audit.Exempt},
		{f.host + "/none:1@" + nothing, audit.Pinned},
		{"No Image", audit.Exempt},
	} {
		p := one(tt.image, f.host+"/none@"+nothing)
		p.Containers[0].Never = true
		got := report(t, f.auditor(t), p).Containers[0]
		if diff := cmp.Diff([]audit.State{tt.want}, got.States); diff != "" {
			t.Errorf("states of %s: -want +got\n%s", tt.image, diff)
		}
		if text := fmt.Sprint(got.Details); !strings.Contains(text, "never pulled") {
			t.Errorf("details of %s: %s, want that it is never pulled", tt.image, text)
		}
	}
	if asked := f.take(); len(asked) > 0 {
		t.Errorf("requests %q, want none", asked)
	}
}

// TestOthersAskMeanwhile checks that a namespace that waits for a registry does not keep another
// one from asking for the same image with its own credentials, and uses the answer of that one.
func TestOthersAskMeanwhile(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("private/app:1", "one")
	first := ""
	var mu sync.Mutex
	a := &audit.Auditor{
		Images: f.images(t),
		Keychain: func(namespace string, _ workload.Identity) keychain.Keychain {
			mu.Lock()
			defer mu.Unlock()
			if first == "" || first == namespace {
				first = namespace
				return keychain.Chain{}
			}
			return passwords(map[string]string{namespace: "canary"})(namespace, workload.Identity{})
		},
		Wait:  func(context.Context, error, *int) (time.Duration, error) { return time.Hour, nil },
		Until: time.Now().Add(10 * time.Second),
	}
	image := f.host + "/private/app:1@" + digest
	here, there := one(image, ""), one(image, "")
	there.Namespace = "other"
	for _, finding := range report(t, a, here, there).Containers {
		if finding.Has(audit.Unknown) {
			t.Errorf("%s: %v, want an answer", finding.Namespace, finding.Details)
		}
	}
}

// TestOnePerImage checks that each image is looked up once, whatever the number of its pods and
// workloads, and that a digest that its tag names is not looked up by itself.
func TestOnePerImage(t *testing.T) {
	f := newFixture(t)
	push := f.pusher(t)
	v1 := push.image("app:1", "one")
	v2 := push.image("app:2", "two")
	var pods []audit.Pod
	for range 50 {
		for _, namespace := range []string{"a", "b", "c"} {
			for _, image := range []string{"app:1", "app:1@" + v1, "app@" + v2, "app:2"} {
				p := one(f.host+"/"+image, "")
				p.Namespace = namespace
				pods = append(pods, p)
			}
		}
	}
	r := report(t, f.auditor(t), pods...)
	want := []string{"HEAD /v2/app/manifests/1", "HEAD /v2/app/manifests/2", "HEAD /v2/app/manifests/" + v2}
	got := f.take()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
	wantSummary := audit.Summary{
		Namespaces: 3, Workloads: 3, Pods: 600, Containers: 600, Images: 4, Lookups: 3,
		States: map[audit.State]int{audit.Pinned: 300, audit.Unpinned: 300},
	}
	if diff := cmp.Diff(wantSummary, r.Summary); diff != "" {
		t.Errorf("summary: -want +got\n%s", diff)
	}
	if n := r.Found([]audit.State{audit.Unpinned, audit.Gone}); n != 300 {
		t.Errorf("Found = %d, want 300", n)
	}
}

// TestPullSecrets checks that the answer for the credentials of one namespace is for all, and that
// equal credentials are tried once.
func TestPullSecrets(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("private/app:1", "one")
	a := f.auditor(t)
	a.Keychain = passwords(map[string]string{"b": "canary"})
	var pods []audit.Pod
	for _, namespace := range []string{"a", "b", "c", "d", "e", "f"} {
		p := one(f.host+"/private/app:1@"+digest, "")
		p.Namespace = namespace
		pods = append(pods, p)
	}
	r := report(t, a, pods...)
	if n := r.Summary.States[audit.Unknown]; n > 0 {
		t.Errorf("%d unknown, want 0: %v", n, r.Containers)
	}
	f.take()
	// Without the right one, nothing is known.
	r = report(t, a, pods[0], pods[2], pods[3])
	if r.Summary.States[audit.Unknown] != 3 || r.Summary.LookupFailed != 3 {
		t.Errorf("without a login: %+v, want three unknown", r.Summary)
	}
	if got := f.take(); len(got) > 4 { // each of the two questions may be repeated by GET
		t.Errorf("requests without a login: %v, want those of one namespace", got)
	}
}

// passwords returns a keychain with the password of each namespace.
func passwords(all map[string]string) func(string, workload.Identity) keychain.Keychain {
	return func(namespace string, _ workload.Identity) keychain.Keychain {
		return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
			if all[namespace] == "" {
				return nil
			}
			return []keychain.Credential{{Auth: authn.AuthConfig{Username: "u", Password: all[namespace]}}}
		})
	}
}

// TestNotStarted checks that a pin is not reported as what runs before its container has started.
func TestNotStarted(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("app:1", "one")
	pinned := f.host + "/app:1@" + digest
	for id, want := range map[string]string{"": "", f.host + "/app@" + digest: digest} {
		got := report(t, f.auditor(t), one(pinned, id)).Containers[0].RunningDigest
		if string(got) != want {
			t.Errorf("with the imageID %q: RunningDigest = %q, want %q", id, got, want)
		}
	}
}

// TestSharedCredential checks that an image which a credential that all namespaces share does not
// find is gone, unless it is refused without the credential: some registries answer 404 to a
// credential that may not see the image. What the registry has answered is for the operator alone.
func TestSharedCredential(t *testing.T) {
	for _, forTenants := range []bool{false, true} {
		f := newFixture(t)
		a := f.auditor(t)
		a.ForTenants = forTenants
		a.Images.Client.ExplainAll, a.Images.Client.TellShared = !forTenants, true
		a.Keychain = func(string, workload.Identity) keychain.Keychain {
			return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
				auth := authn.AuthConfig{Username: "u", Password: "canary"}
				return []keychain.Credential{{Auth: auth, Shared: true}}
			})
		}
		for image, want := range map[string]audit.State{
			"/private/app@" + nothing: audit.Unknown, // the anonymous lookup is refused
			"/public/app@" + nothing:  audit.Gone,
		} {
			r := report(t, a, one(f.host+image, f.host+image))
			got := r.Containers[0]
			text := strings.ReplaceAll(fmt.Sprint(got.Details), f.host, "host") // its port may have 404 in it
			if diff := cmp.Diff([]audit.State{want, audit.Pinned}, got.States); diff != "" {
				t.Errorf("for tenants: %t: states of %s, %s: -want +got\n%s", forTenants, image, text, diff)
			}
			if strings.Contains(text, "404") == forTenants ||
				strings.Contains(text, "401") != (want == audit.Unknown && !forTenants) {
				t.Errorf("for tenants: %t: %s: %s, want the answers for the operator alone", forTenants, image, text)
			}
			if failed := r.Summary.LookupFailed == 1; failed != (want == audit.Unknown) {
				t.Errorf("for tenants: %t: %s: lookup failed: %t", forTenants, image, failed)
			}
		}
	}
}

// TestFailuresAreOwn checks that a failure with the credentials of one namespace says nothing about
// the image of another one, however many namespaces have others.
func TestFailuresAreOwn(t *testing.T) {
	f := newFixture(t)
	a := f.auditor(t)
	all := map[string]string{"a1": "wrong", "z": "canary", "a2": "other", "a3": "another", "a4": "odd", "a5": "even"}
	a.Keychain = passwords(all)
	var pods []audit.Pod
	for _, namespace := range slices.Sorted(maps.Keys(all)) {
		p := one(f.host+"/private/app@"+nothing, f.host+"/private/app@"+nothing)
		p.Namespace = namespace
		pods = append(pods, p)
	}
	for _, finding := range report(t, a, pods...).Containers {
		if got, want := finding.Has(audit.Gone), finding.Namespace == "z"; got != want || finding.Has(audit.Unknown) == want {
			t.Errorf("%s: states %v, want gone: %t, otherwise unknown", finding.Namespace, finding.States, want)
		}
	}
}

// TestNoTurnIsOwn checks that a lookup of one namespace that gets no turn at a mirror says nothing
// about the image to another namespace, which has the same credentials and its own turns.
func TestNoTurnIsOwn(t *testing.T) {
	d := ref.MustParse(hub + "@" + nothing).Digest()
	for _, noTurn := range []error{registry.ErrOfNamespace, registry.ErrNoAnswer} {
		var asked atomic.Int32
		next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			switch {
			case req.Ref.Host() != "mirror.internal":
				return resolve.Result{}, failure.Unauthorized
			case asked.Add(1) == 1:
				return resolve.Result{}, failure.New(failure.Unavailable, noTurn)
			}
			return resolve.Result{Digest: d}, nil
		})
		client := &registry.Client{Hosts: []registry.Host{
			{Name: "docker.io", Mirrors: []registry.Mirror{{Host: "mirror.internal", Resolve: true}}},
		}}
		t.Cleanup(client.Close)
		a := &audit.Auditor{Images: &resolve.Mirrors{Next: next, Client: client}}
		for _, image := range []string{hub + ":1", hub + "@" + nothing} {
			asked.Store(0)
			var pods []audit.Pod
			for _, namespace := range []string{"a", "b"} {
				p := one(image, hub+"@"+nothing)
				p.Namespace = namespace
				pods = append(pods, p)
			}
			r := report(t, a, pods...)
			if n := r.Summary.States[audit.Unknown]; n > 0 {
				t.Errorf("%s, %v: %d unknown, want 0, because one namespace got an answer: %+v", image, noTurn, n, r.Containers)
			}
		}
	}
}

// TestRotatedMeanwhile checks that a failure is remembered under the credentials of the lookup, and
// not under those that the secret has got since, which another namespace has too.
func TestRotatedMeanwhile(t *testing.T) {
	f := newFixture(t)
	f.pusher(t).image("private/app:1", "one")
	var password atomic.Value
	password.Store("old")
	a := f.auditor(t)
	asked := false
	a.Wait = func(_ context.Context, err error, _ *int) (time.Duration, error) {
		if !asked { // the secret is rotated after the first lookup
			asked = true
			password.Store("canary")
		}
		return 0, err
	}
	a.Keychain = func(string, workload.Identity) keychain.Keychain {
		return keychain.Func(func(_ context.Context, _ ref.Reference, fresh bool) []keychain.Credential {
			if fresh { // a secret that can't be read again
				return []keychain.Credential{{Auth: authn.AuthConfig{Username: "u", Password: "old"}}}
			}
			return []keychain.Credential{{Auth: authn.AuthConfig{Username: "u", Password: password.Load().(string)}}}
		})
	}
	var pods []audit.Pod
	for _, namespace := range []string{"a", "b"} {
		p := one(f.host+"/private/app:1", "")
		p.Namespace = namespace
		pods = append(pods, p)
	}
	r := report(t, a, pods...)
	if n := r.Summary.States[audit.Unknown]; n > 0 {
		t.Errorf("%d unknown, want 0, because one namespace has the right password: %+v", n, r.Containers)
	}
}

// TestRepeat checks that a lookup that waits for a registry does not hold up other namespaces.
func TestRepeat(t *testing.T) {
	f := newFixture(t)
	f.pusher(t).image("app:1", "one")
	a := f.auditor(t)
	a.Parallel = 1
	others := make(chan struct{})
	var asked atomic.Int64
	working := f.Handler
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/app/") {
			defer func() {
				if asked.Add(1) == 1 {
					close(others)
				}
			}()
		}
		working.ServeHTTP(w, r)
	})
	a.Wait = func(_ context.Context, err error, _ *int) (time.Duration, error) {
		select {
		case <-others:
			return 0, err
		default:
			return time.Millisecond, err
		}
	}
	busy, other := one(f.host+"/busy/app:1", ""), one(f.host+"/app:1", "")
	other.Namespace = "z"
	a.Until = time.Now().Add(30 * time.Second)
	r := report(t, a, busy, other)
	if text := fmt.Sprint(r.Containers); !strings.Contains(text, "503") || strings.Contains(text, "in time") {
		t.Errorf("findings %v, want a 503 for one, and an answer for the other", text)
	}
}

// TestWaitsAlone checks that an image whose registry wants to be asked later holds up neither other
// images of its namespace nor any question about them, even if one image is looked up at a time.
func TestWaitsAlone(t *testing.T) {
	f := newFixture(t)
	f.pusher(t).image("app:1", "one")
	a := f.auditor(t)
	a.Parallel = 1
	served := make(chan struct{})
	var once sync.Once
	working := f.Handler
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, nothing) {
			once.Do(func() { close(served) })
		}
		working.ServeHTTP(w, r)
	})
	a.Wait = func(_ context.Context, err error, _ *int) (time.Duration, error) {
		if !strings.Contains(err.Error(), "503") {
			return 0, err
		}
		select {
		case <-served:
			return 0, err
		default:
			return time.Millisecond, err
		}
	}
	a.Until = time.Now().Add(30 * time.Second)
	pods := []audit.Pod{one(f.host+"/app:1", f.host+"/app@"+nothing)}
	for i := range 8 {
		pods = append(pods, one(fmt.Sprintf("%s/busy/%d:1", f.host, i), ""))
	}
	r := report(t, a, pods...)
	if gone := r.Summary.States[audit.Gone]; gone != 1 || strings.Contains(fmt.Sprint(r.Containers), "in time") {
		t.Errorf("%d gone, %+v, want 1, and an answer for each", gone, r.Containers)
	}
}

// TestMoreIdentities checks that an image is asked for again with the credentials of a row that is
// known to need it only after the lookup has failed for another one.
func TestMoreIdentities(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("private/app:1", "one")
	f.pusher(t).image("other:1", "two")
	a := f.auditor(t)
	a.Parallel = 1
	a.Keychain = func(_ string, id workload.Identity) keychain.Keychain {
		return passwords(map[string]string{"": id.ServiceAccount})("", id)
	}
	untagged := one(f.host+"/private/app@"+digest, "")
	tagged := one(f.host+"/private/app:gone@"+digest, "")
	tagged.Identity.ServiceAccount = "canary"
	for _, finding := range report(t, a, untagged, tagged).Containers {
		if finding.Has(audit.Unknown) {
			t.Errorf("%s: %v, want an answer", finding.Image, finding.Details)
		}
	}
}

// TestPanic checks that a panic while an image is looked up is reported, and that only this image
// is unknown.
func TestPanic(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("app:1", "one")
	a := f.auditor(t)
	var reported []*panics.Error
	var mu sync.Mutex
	a.Panics = &panics.Reporter{Report: func(e *panics.Error) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, e)
	}}
	a.Keychain = func(string, workload.Identity) keychain.Keychain {
		return keychain.Func(func(_ context.Context, r ref.Reference, _ bool) []keychain.Credential {
			if r.Path() == "panics" {
				panic("a bug")
			}
			return nil
		})
	}
	r := report(t, a, one(f.host+"/panics:1", ""), one(f.host+"/app:1@"+digest, ""))
	text := fmt.Sprint(r.Containers)
	if r.Summary.States[audit.Unknown] != 1 || len(reported) != 1 || len(reported[0].Stack) == 0 ||
		!strings.Contains(text, "internal error while looking up an image") {
		t.Errorf("findings %s, %d panics reported, want one of each", text, len(reported))
	}
}

// TestInsecureLoopback checks that a loopback host is asked if the user vouches for it.
func TestInsecureLoopback(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("app:1", "one")
	images := f.images(t)
	images.Client.Hosts = nil
	images.Client.Lenient = registry.Lenient{Hosts: []string{f.host}}
	got := report(t, &audit.Auditor{Images: images}, one(f.host+"/app:1@"+digest, "")).Containers[0]
	if got.Has(audit.Unknown) || got.TagDigest.String() != digest {
		t.Errorf("states %v, details %q, tag %s, want an answer", got.States, got.Details, got.TagDigest)
	}
}

// TestHangingRegistry checks that images of a registry that does not answer are unknown when the
// time is over, and that those of other namespaces are looked up meanwhile.
func TestHangingRegistry(t *testing.T) {
	f := newFixture(t)
	f.pusher(t).image("app:1", "one")
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	working := f.Handler
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v2/hangs") {
			working.ServeHTTP(w, r)
			return
		}
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	})
	var pods []audit.Pod
	for i := range 1000 {
		p := one(fmt.Sprintf("%s/hangs-%d:1", f.host, i), fmt.Sprintf("%s/hangs-%d@%s", f.host, i, nothing))
		p.Namespace = "a"
		pods = append(pods, p)
	}
	for i := range 20 {
		p := one(f.host+"/app:1", f.host+"/app@"+nothing)
		p.Namespace = fmt.Sprint("b-", i)
		pods = append(pods, p)
	}
	a := f.auditor(t)
	a.Images.Client.Hosts[0].Timeout = time.Minute // so that lookups end by Until alone
	a.Until = time.Now().Add(8 * time.Second)
	r := report(t, a, pods...)
	gone, late := r.Summary.States[audit.Gone], 0
	for _, finding := range r.Containers {
		if strings.Contains(fmt.Sprint(finding.Details), "the tag: not looked up in time") {
			late++
		}
	}
	if gone != 20 || late != 1000 || r.Summary.LookupFailed != 1000 {
		t.Errorf("%d gone, %d late, %+v, want 20 gone and 1000 late", gone, late, r.Summary)
	}
}

// TestShortNames checks that names without a host are looked up where the node has found them.
func TestShortNames(t *testing.T) {
	f := newFixture(t)
	digest := f.pusher(t).image("app:1", "one")
	a := f.auditor(t)
	a.LeaveShortNames = true
	r := report(t, a, one("app:1", f.host+"/app@"+digest), one("app:1", ""))
	got := map[string]int{}
	for _, c := range r.Containers {
		for _, s := range c.States {
			got[string(s)]++
		}
	}
	if diff := cmp.Diff(map[string]int{"unpinned": 2, "unknown": 1}, got); diff != "" {
		t.Errorf("states: -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"HEAD /v2/app/manifests/1"}, f.take()); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
}

// TestMirrorServes checks that a digest which only a mirror still has is not gone.
func TestMirrorServes(t *testing.T) {
	f, mirror := newFixture(t), newFixture(t)
	digest := mirror.pusher(t).image("app:1", "one")
	images := f.images(t, registry.Host{Name: mirror.host, Insecure: true})
	for _, withMirror := range []bool{true, false} {
		if withMirror {
			images.Client.Hosts[1].Mirrors = []registry.Mirror{{Host: mirror.host}}
		} else {
			images = f.images(t)
		}
		r := report(t, &audit.Auditor{Images: images}, one(f.host+"/app@"+digest, digest))
		if gone := r.Summary.States[audit.Gone] > 0; gone == withMirror {
			t.Errorf("mirror %t: gone = %t", withMirror, gone)
		}
	}
}

// TestWorkloads checks how pods are put together.
func TestWorkloads(t *testing.T) {
	f := newFixture(t)
	f.pusher(t).image("app:1", "one")
	c := &audit.Collector{}
	set := func(uid string) audit.Owner {
		return audit.Owner{Group: "apps", Kind: "ReplicaSet", Name: "web-" + uid, UID: uid}
	}
	for _, owner := range []audit.Owner{
		set("1"), set("1"), set("2"), set("3"),
		{Group: "argoproj.io", Kind: "Rollout", Name: "blue", UID: "r"},
		{Kind: "Node", Name: "n1", UID: "n"},
		{},
	} {
		p := one(f.host+"/app:1", "")
		p.Owner = owner
		c.Add(p)
	}
	if diff := cmp.Diff(map[string]bool{"1": true, "2": true, "3": true}, c.Owners("apps", "ReplicaSet")); diff != "" {
		t.Errorf("Owners: -want +got\n%s", diff)
	}
	deployment := audit.Owner{Group: "apps", Kind: "Deployment", Name: "web", UID: "d"}
	c.Replace(map[string]audit.Owner{"1": deployment, "2": deployment})
	r, err := f.auditor(t).Report(t.Context(), c)
	check(t, r, err)
	got := map[string]int{}
	for _, c := range r.Containers {
		got[c.Workload.String()] += c.Count
	}
	want := map[string]int{"Deployment/web": 3, "ReplicaSet/web-3": 1, "Rollout/blue": 1, "Pod/p": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workloads: -want +got\n%s", diff)
	}
}

// TestCancelled checks that a report that was cancelled is none.
func TestCancelled(t *testing.T) {
	f := newFixture(t)
	c := &audit.Collector{}
	c.Add(one(f.host+"/app:1", ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := f.auditor(t).Report(ctx, c); err == nil {
		t.Errorf("Report = %v, want an error", r)
	}
}

// TestManyPods checks that 10,000 pods with 500 images need 500 lookups, a few at a time.
func TestManyPods(t *testing.T) {
	const pods, images = 10_000, 500
	f := newFixture(t)
	var under, most atomic.Int64
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			continue
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", nothing)
	})
	c := &audit.Collector{}
	for i := range pods {
		c.Add(audit.Pod{
			Namespace: fmt.Sprint("ns-", i%100), Name: fmt.Sprint("p-", i),
			Containers: []audit.Container{{
				Name: "c", Type: audit.TypeContainer, Image: fmt.Sprintf("%s/app-%d:1", f.host, i%images),
				ImageID: fmt.Sprintf("%s/app-%d@%s", f.host, i%images, nothing),
			}},
		})
	}
	a := f.auditor(t)
	last := 0
	a.Progress = func(done, all int) {
		if done < last || done > all {
			t.Errorf("progress: %d of %d after %d", done, all, last)
		}
		last = done
	}
	r, err := a.Report(t.Context(), c)
	check(t, r, err)
	if n := len(f.take()); n != images || r.Summary.Lookups != images || last != images {
		t.Errorf("%d requests, %d lookups, progress to %d, want %d of each", n, r.Summary.Lookups, last, images)
	}
	states := r.Summary.States
	if states[audit.Unpinned] != pods || states[audit.Unknown] != 0 || most.Load() > 16 {
		t.Errorf("%+v with %d lookups at a time, want %d unpinned with at most 16", r.Summary, most.Load(), pods)
	}
}
