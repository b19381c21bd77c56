// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// d returns a digest that name stands for.
func d(name string) digest.Digest { return resolvetest.Digest(name) }

// backend is a Resolver with one answer that counts its lookups.
type backend struct {
	asked  atomic.Int64
	digest digest.Digest
	err    error
	hold   chan struct{} // if not nil, each lookup waits for it
}

func (b *backend) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	if err := req.Begin(); err != nil {
		return resolve.Result{}, err
	}
	b.asked.Add(1)
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return resolve.Result{}, fmt.Errorf("%w: cut off", failure.Unavailable)
		}
	}
	return resolve.Result{Digest: b.digest}, b.err
}

// wantAsked checks the number of lookups.
func (b *backend) wantAsked(t *testing.T, when string, want int64) {
	t.Helper()
	if n := b.asked.Load(); n != want {
		t.Errorf("%s: %d lookups, want %d", when, n, want)
	}
}

const app = "ghcr.io/a/b:1"

func request(fresh bool, users ...string) resolve.Request {
	r := resolve.Request{Ref: ref.MustParse(app), Fresh: fresh}
	for _, u := range users {
		auth := authn.AuthConfig{Username: u, Password: "p"}
		r.Credentials = append(r.Credentials, keychain.Credential{Auth: auth})
	}
	return r
}

// of returns a request for an image of a namespace.
func of(image, namespace string, fresh bool) resolve.Request {
	return resolve.Request{Ref: ref.MustParse(image), Namespace: namespace, Fresh: fresh}
}

// limits are the ages of the webhook's default config.
var limits = resolve.Limits{
	TTL:         resolve.DefaultTTL,
	NegativeTTL: resolve.DefaultNegativeTTL,
	StaleFor:    resolve.DefaultStaleFor,
}

// remembering returns a cache of its own. It is closed when the test ends.
func remembering(t testing.TB, next resolve.Resolver) *resolve.Cache {
	t.Helper()
	c := &resolve.Cache{
		Next: next, Answers: &resolve.Answers{}, Limits: limits, Client: &registry.Client{},
	}
	t.Cleanup(c.Answers.Close)
	return c
}

type result struct {
	resolve.Result
	err error
}

// begin starts a request, and returns where its result will be.
func begin(ctx context.Context, r resolve.Resolver, req resolve.Request) <-chan result {
	results := make(chan result, 1)
	go func() {
		got, err := r.Resolve(ctx, req)
		results <- result{got, err}
	}()
	synctest.Wait()
	return results
}

// TestCacheKeyAllocates checks that many large credentials are not copied for a key.
func TestCacheKeyAllocates(t *testing.T) {
	users := make([]string, keychain.MaxCandidates)
	for i := range users {
		users[i] = strings.Repeat(string(rune('a'+i)), 16<<10)
	}
	b := &backend{digest: d("D1")}
	c := remembering(t, b)
	req := request(false, users...)
	var before, after runtime.MemStats
	for range 2 { // the second answer is remembered
		runtime.ReadMemStats(&before)
		if _, err := c.Resolve(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("an answer from memory allocates %d bytes, want at most 64 KiB", got)
	}
	b.wantAsked(t, "same request twice", 1)
}

// TestAnswersAreSmall checks that a remembered digest takes little memory, since there may be
// 100,000 of them. Neither a review nor an answer of a registry stays in memory with it.
func TestAnswersAreSmall(t *testing.T) {
	const answers, most = 20000, 256
	c := remembering(t, resolve.Func(
		func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			answer := strings.Repeat("x", 1<<10) + string(d(req.Ref.Tag()))
			return resolve.Result{Digest: digest.Digest(answer[1<<10:])}, nil
		}))
	c.Answers.Resize(answers)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range answers {
		review := fmt.Sprintf("%s-%d shop-%d %s", app, i, i%4, strings.Repeat("x", 1<<10))
		image, rest, _ := strings.Cut(review, " ")
		namespace, _, _ := strings.Cut(rest, " ")
		if _, err := c.Resolve(t.Context(), of(image, namespace, false)); err != nil {
			t.Fatal(err)
		}
	}
	if got := (heap() - before) / answers; got > most {
		t.Errorf("an answer takes %d bytes, want at most %d", got, most)
	}
	runtime.KeepAlive(c)
}

// TestCacheFreshness checks the life of an entry (rules 7 and 8). Each step is a time, the
// registry's answer at that time, a request, and its result.
func TestCacheFreshness(t *testing.T) {
	unavailable := fmt.Errorf("down: %w", failure.Unavailable)
	notFound := fmt.Errorf("gone: %w", failure.NotFound)
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1")}
		c := remembering(t, b)
		for i, step := range []struct {
			wait  time.Duration
			say   digest.Digest
			err   error
			fresh bool
			want  digest.Digest // "" for an error
			asked int64
			flags string
		}{
			{0, d("D1"), nil, false, d("D1"), 1, ""},
			{29 * time.Second, d("D2"), nil, false, d("D1"), 1, "cached"},
			{0, d("D2"), nil, true, d("D2"), 2, ""}, // a deploy always asks
			{29 * time.Second, d("D3"), nil, false, d("D2"), 2, "cached"},
			{2 * time.Second, d("D3"), nil, false, d("D3"), 3, ""},
			{31 * time.Second, "", unavailable, false, d("D3"), 4, "stale"},
			{time.Second, "", unavailable, false, d("D3"), 4, "stale"}, // the failure is remembered
			{time.Second, "", unavailable, true, "", 5, ""},            // never for a deploy
			{60 * time.Minute, "", unavailable, false, "", 6, ""},      // an hour after D3
			{6 * time.Second, d("D4"), nil, false, d("D4"), 7, ""},
			{31 * time.Second, "", notFound, false, "", 8, ""},  // an answer, so nothing is stale
			{time.Second, d("D5"), nil, false, "", 8, "cached"}, // remembered
			{time.Second, d("D5"), nil, true, d("D5"), 9, ""},   // not for a deploy
		} {
			time.Sleep(step.wait)
			b.digest, b.err = step.say, step.err
			got, err := c.Resolve(t.Context(), request(step.fresh))
			flags := ""
			if got.Stale {
				flags = "stale"
			} else if got.Cached {
				flags = "cached"
			}
			if got.Digest != step.want || (err != nil) != (step.want == "") || flags != step.flags {
				t.Errorf("step %d: Resolve = %+v, %v, want %q %s", i, got, err, step.want, step.flags)
			}
			b.wantAsked(t, fmt.Sprint("step ", i), step.asked)
		}
	})
}

// TestCacheAsksForTheFirst checks that the first pod of a revision gets no digest from memory, even
// if the registry can't be reached, because all other pods would run it.
func TestCacheAsksForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1")}
		c := remembering(t, b)
		first := request(false)
		first.First = true
		ask := func(when string, want digest.Digest, asked int64) {
			t.Helper()
			got, err := c.Resolve(t.Context(), first)
			if (err != nil) != (want == "") || got.Digest != want || got.Stale {
				t.Errorf("%s: Resolve = %+v, %v, want %q", when, got, err, want)
			}
			b.wantAsked(t, when, asked)
		}
		ask("cold", d("D1"), 1)
		b.digest = d("D2")
		ask("at once", d("D2"), 2)
		b.digest, b.err = "", fmt.Errorf("down: %w", failure.Unavailable)
		ask("the registry is down", "", 3)
		ask("the failure is remembered", "", 3)
	})
}

// TestCacheKeepsTenantsApart checks that an answer is only for the list of credentials that it was
// got with.
func TestCacheKeepsTenantsApart(t *testing.T) {
	b := &backend{digest: d("D1")}
	c := remembering(t, b)
	unread := request(false)
	unread.Credentials = []keychain.Credential{{Unread: true}}
	for _, again := range []bool{false, true} {
		for _, req := range []resolve.Request{
			request(false), request(false, "a"), request(false, "b"),
			request(false, "a", "b"), request(false, "b", "a"), unread,
		} {
			if got, err := c.Resolve(t.Context(), req); err != nil || got.Cached != again {
				t.Errorf("Resolve(%v) = %+v, %v, want it remembered: %t", req.Credentials, got, err, again)
			}
		}
	}
}

// TestRenewedCredential checks that an answer stays known when a cloud renews its credential, or
// has none for a while.
func TestRenewedCredential(t *testing.T) {
	c := remembering(t, &backend{digest: d("D1")})
	for i, credential := range []keychain.Credential{
		{Auth: authn.AuthConfig{Username: "AWS", Password: "1"}, Shared: true, Source: "amazon eu-west-1"},
		{Auth: authn.AuthConfig{Username: "AWS", Password: "2"}, Shared: true, Source: "amazon eu-west-1"},
		{Unread: true, Source: "amazon eu-west-1"},
	} {
		req := request(false)
		req.Credentials = []keychain.Credential{credential}
		if got, err := c.Resolve(t.Context(), req); err != nil || got.Cached != (i > 0) {
			t.Errorf("Resolve(%v) = %+v, %v, want it remembered: %t", credential, got, err, i > 0)
		}
	}
}

// TestCacheCoalesces checks that many requests at the same time share a lookup. Deploys that come
// when it was sent share a second one, which is sent after the first. The lookup goes on when the
// caller that has started it leaves.
func TestCacheCoalesces(t *testing.T) {
	for fresh, want := range map[bool]int64{false: 1, true: 2} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{digest: d("D1"), hold: make(chan struct{})}
			c := remembering(t, b)
			ctx, cancel := context.WithCancel(t.Context())
			first := begin(ctx, c, request(fresh))
			var others []<-chan result
			for range 99 {
				others = append(others, begin(t.Context(), c, request(fresh)))
			}
			b.wantAsked(t, fmt.Sprintf("fresh %t, at once", fresh), 1)
			cancel()
			if got := <-first; !errors.Is(got.err, failure.Unavailable) {
				t.Errorf("result of the caller that left = %+v, want it unavailable", got)
			}
			close(b.hold)
			for _, other := range others {
				if got := <-other; got.err != nil || got.Digest != d("D1") {
					t.Errorf("Resolve = %+v, want %s", got, d("D1"))
				}
			}
			b.wantAsked(t, fmt.Sprintf("fresh %t, at the end", fresh), want)
		})
	}
}

// TestDeployDoesNotJoinWhatWasSent checks that a deploy gets what was pushed before it, even if a
// lookup from before the push is under way, for any namespace. So does the first pod of a revision.
// Other pods may get the old digest. The answer to the later question is remembered.
func TestDeployDoesNotJoinWhatWasSent(t *testing.T) {
	first := request(false)
	first.First = true
	for name, tt := range map[string]struct {
		req       resolve.Request
		namespace string
		want      digest.Digest
	}{
		"deploy":                       {request(true), "a", d("new")},
		"deploy in another namespace":  {request(true), "b", d("new")},
		"first pod of a revision":      {first, "a", d("new")},
		"other pod":                    {request(false), "a", d("old")},
		"other pod, another namespace": {request(false), "b", d("old")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tag, hold := atomic.Value{}, make(chan struct{})
				tag.Store(d("old"))
				c := remembering(t, resolve.Func(
					func(_ context.Context, req resolve.Request) (resolve.Result, error) {
						if err := req.Begin(); err != nil {
							return resolve.Result{}, err
						}
						result := resolve.Result{Digest: tag.Load().(digest.Digest)}
						<-hold // the answer is under way
						return result, nil
					}))
				before := begin(t.Context(), c, of(app, "a", true))
				tag.Store(d("new"))
				tt.req.Namespace = tt.namespace
				after := begin(t.Context(), c, tt.req)
				close(hold)
				if got := <-before; got.Digest != d("old") {
					t.Errorf("deploy before the push: %+v, want %s", got, d("old"))
				}
				if got := <-after; got.Digest != tt.want {
					t.Errorf("after the push: %+v, want %s", got, tt.want)
				}
				if got := <-begin(t.Context(), c, of(app, "c", false)); got.Digest != tt.want {
					t.Errorf("remembered: %+v, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestJoinedByAnotherNamespace checks that a namespace that has used its places does not delay
// another one that wants the same image.
func TestJoinedByAnotherNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1"), hold: make(chan struct{})}
		c := remembering(t, &resolve.Limit{Next: b, Places: resolve.Places(1)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin(ctx, c, of("hangs.example/a:1", "loud", true))
		queued := begin(ctx, c, of(app, "loud", true))
		other := begin(ctx, c, of(app, "other", true))
		b.wantAsked(t, "under way", 2)
		close(b.hold)
		if got := <-other; got.err != nil {
			t.Errorf("other namespace: %v", got.err)
		}
		if got := <-queued; got.err != nil {
			t.Errorf("loud namespace: %v, want the other one's answer", got.err)
		}
	})
}

// TestCacheSurvivesAPanic checks that a panic in a lookup becomes an error.
func TestCacheSurvivesAPanic(t *testing.T) {
	reported := 0
	c := remembering(t, resolve.Func(
		func(context.Context, resolve.Request) (resolve.Result, error) { panic("odd manifest") }))
	c.Answers.Panics = &panics.Reporter{Report: func(*panics.Error) { reported++ }}
	_, err := c.Resolve(t.Context(), request(true))
	if !errors.Is(err, failure.Unavailable) || strings.Contains(err.Error(), "odd") || reported != 1 {
		t.Errorf("Resolve = %v, reported %d times, want it unavailable without the panic's text, once",
			err, reported)
	}
}

// TestAnswersOutliveAConfig checks that a new config keeps the answers of registries whose settings
// are the same.
func TestAnswersOutliveAConfig(t *testing.T) {
	b := &backend{digest: d("D1")}
	before := remembering(t, b)
	after := &resolve.Cache{
		Next: b, Answers: before.Answers, Limits: limits,
		Client: &registry.Client{Hosts: []registry.Host{{Name: "changed.example", Verify: true}}},
	}
	for image, want := range map[string]int64{"same.example/a:1": 1, "changed.example/a:1": 2} {
		b.asked.Store(0)
		for _, c := range []*resolve.Cache{before, after} {
			if _, err := c.Resolve(t.Context(), of(image, "", false)); err != nil {
				t.Fatal(err)
			}
			before.Answers.Resize(100)
		}
		b.wantAsked(t, image, want)
	}
}

// TestAnswersAreShared checks that a namespace that has images looked up without end loses its own
// answers, and not those of another namespace. That is also so for an answer that both have asked
// for.
func TestAnswersAreShared(t *testing.T) {
	for _, both := range []bool{false, true} {
		b := &backend{digest: d("D1")}
		c := remembering(t, b)
		c.Answers.Resize(10)
		ask := func(image, namespace string, fresh bool) {
			_, _ = c.Resolve(t.Context(), of(image, namespace, fresh))
		}
		ask(app, "modest", false)
		if both {
			ask(app, "flood", true)
			b.err = failure.NotFound
		}
		for i := range 100 {
			ask(fmt.Sprint(app, "-flood-", i), "flood", false)
		}
		asked := b.asked.Load()
		ask(app, "modest", false)
		b.wantAsked(t, fmt.Sprintf("modest namespace, answer of both %t", both), asked)
		for i := 99; i >= 90; i-- {
			ask(fmt.Sprint(app, "-flood-", i), "flood", false)
		}
		b.wantAsked(t, "the last ten of the flood, of which nine are remembered", asked+1)
	}
}

// TestLaterQuestionWins checks that the answer to the later question is remembered, even if it
// comes first.
func TestLaterQuestionWins(t *testing.T) {
	found, gone := result{}, result{err: fmt.Errorf("gone: %w", failure.NotFound)}
	found.Digest = d("D")
	for name, tt := range map[string]struct{ early, late result }{
		"404 comes last": {gone, found}, "digest comes last": {found, gone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold, answers := make(chan struct{}), make(chan result, 2)
				answers <- tt.early
				answers <- tt.late
				first := true
				c := remembering(t, resolve.Func(
					func(_ context.Context, req resolve.Request) (resolve.Result, error) {
						if err := req.Begin(); err != nil {
							return resolve.Result{}, err
						}
						a, early := <-answers, first
						if first = false; early {
							<-hold
						}
						return a.Result, a.err
					}))
				begin(t.Context(), c, of(app, "a", true))
				time.Sleep(time.Second)
				<-begin(t.Context(), c, of(app, "b", true))
				close(hold)
				got := <-begin(t.Context(), c, of(app, "c", false))
				if got.Digest != tt.late.Digest || !got.Cached || (got.err != nil) != (tt.late.err != nil) {
					t.Errorf("remembered: %+v, want %+v", got, tt.late)
				}
			})
		})
	}
}

// TestOfNamespaceIsNotShared checks that a failure that concerns only one namespace is not an
// answer to another one.
func TestOfNamespaceIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, turn := make(chan struct{}), make(chan struct{})
		c := remembering(t, resolve.Func(
			func(_ context.Context, req resolve.Request) (resolve.Result, error) {
				if req.Namespace == "other" {
					<-turn // once it has begun, the loud one waits for its answer
				}
				if err := req.Begin(); err != nil {
					return resolve.Result{}, err
				}
				if req.Namespace == "loud" {
					<-hold
					return resolve.Result{}, failure.New(failure.Unavailable, registry.ErrOfNamespace)
				}
				return resolve.Result{Digest: d("D")}, nil
			}))
		loud := begin(t.Context(), c, of(app, "loud", false))
		other := begin(t.Context(), c, of(app, "other", false))
		close(hold)
		if got := <-loud; !errors.Is(got.err, failure.Unavailable) {
			t.Errorf("loud namespace: %v, want it unavailable", got.err)
		}
		close(turn)
		if got := <-other; got.err != nil {
			t.Errorf("namespace that has joined: %v", got.err)
		}
		if got := <-begin(t.Context(), c, of(app, "loud", false)); got.err != nil {
			t.Errorf("loud namespace afterwards: %v, want the other one's answer", got.err)
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	c := remembering(b, &backend{digest: d("D")})
	for name, r := range map[string]resolve.Request{
		"anonymous": request(false), "secret": request(false, "user"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Resolve(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
