// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
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

// backend answers what it is told to, and counts.
type backend struct {
	asked  atomic.Int64
	digest digest.Digest
	err    error
	hold   chan struct{} // not nil: each look-up waits for it
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

func request(fresh bool, users ...string) resolve.Request {
	r := resolve.Request{Ref: ref.MustParse("ghcr.io/a/b:1"), Fresh: fresh}
	for _, u := range users {
		r.Credentials = append(r.Credentials, keychain.Credential{Auth: authn.AuthConfig{Username: u, Password: "p"}})
	}
	return r
}

// A key is made of many large credentials without a copy of all of them.
func TestCacheKeyAllocates(t *testing.T) {
	users := make([]string, keychain.MaxCandidates)
	for i := range users {
		users[i] = strings.Repeat(string(rune('a'+i)), 16<<10)
	}
	b := &backend{digest: d("D1")}
	c := &resolve.Cache{Next: b, Answers: &resolve.Answers{}}
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
	if n := b.asked.Load(); n != 1 {
		t.Errorf("%d look-ups, want 1", n)
	}
}

// TestCacheFreshness goes through the life of an entry: each step is a moment, what the registry
// says then, who asks, and the answer.
func TestCacheFreshness(t *testing.T) {
	unavailable := fmt.Errorf("down: %w", failure.Unavailable)
	notFound := fmt.Errorf("gone: %w", failure.NotFound)
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1")}
		c := &resolve.Cache{Next: b, Answers: &resolve.Answers{}}
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
			{time.Second, "", unavailable, false, d("D3"), 4, "stale"}, // the failure is remembered, and the answer too
			{time.Second, "", unavailable, true, "", 5, ""},            // never for a deploy
			{60 * time.Minute, "", unavailable, false, "", 6, ""},      // too old: an hour has passed since D3
			{6 * time.Second, d("D4"), nil, false, d("D4"), 7, ""},
			{31 * time.Second, "", notFound, false, "", 8, ""},  // taken back: nothing stale
			{time.Second, d("D5"), nil, false, "", 8, "cached"}, // remembered
			{time.Second, d("D5"), nil, true, d("D5"), 9, ""},   // a deploy ignores it
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
			if got.Digest != step.want || (err != nil) != (step.want == "") || b.asked.Load() != step.asked || flags != step.flags {
				t.Errorf("step %d: Resolve = %+v, %v after %d look-ups, want %q %s after %d", i, got, err, b.asked.Load(), step.want, step.flags, step.asked)
			}
		}
	})
}

// The first pod of a revision gets no digest that was remembered, also where the registry can't be
// reached: all others would run it.
func TestCacheAsksForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1")}
		c := &resolve.Cache{Next: b, Answers: &resolve.Answers{}}
		first := request(false)
		first.First = true
		ask := func(when string, want digest.Digest, asked int64) {
			t.Helper()
			got, err := c.Resolve(t.Context(), first)
			if (err != nil) != (want == "") || got.Digest != want || got.Stale || b.asked.Load() != asked {
				t.Errorf("%s: %+v, %v after %d look-ups, want %q after %d", when, got, err, b.asked.Load(), want, asked)
			}
		}
		ask("cold", d("D1"), 1)
		b.digest = d("D2")
		ask("at once", d("D2"), 2)
		b.digest, b.err = "", fmt.Errorf("down: %w", failure.Unavailable)
		ask("the registry is down", "", 3)
		ask("which is remembered", "", 3)
	})
}

func TestCacheKeepsTenantsApart(t *testing.T) {
	b := &backend{digest: d("D1")}
	c := &resolve.Cache{Next: b, Answers: &resolve.Answers{}}
	for _, users := range [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"b", "a"}} {
		if _, err := c.Resolve(t.Context(), request(false, users...)); err != nil {
			t.Fatal(err)
		}
	}
	if b.asked.Load() != 5 {
		t.Errorf("%d look-ups for 5 sets of credentials", b.asked.Load())
	}
	if _, err := c.Resolve(t.Context(), request(false, "a", "b")); err != nil || b.asked.Load() != 5 {
		t.Errorf("the same credentials asked again: %v", err)
	}
	unread := request(false)
	unread.Credentials = []keychain.Credential{{Unread: true}}
	if _, err := c.Resolve(t.Context(), unread); err != nil || b.asked.Load() != 6 {
		t.Errorf("without what could not be read: %v after %d look-ups, want one of its own", err, b.asked.Load())
	}
}

// Of a hundred at once one asks. Where they are deploys, those that come when that question was
// sent share a second one, which is sent when the first has its answer.
func TestCacheCoalesces(t *testing.T) {
	for fresh, want := range map[bool]int64{false: 1, true: 2} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{digest: d("D1"), hold: make(chan struct{})}
			c := &resolve.Cache{Next: b, Answers: &resolve.Answers{}}
			defer c.Answers.Close()
			first, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := c.Resolve(first, request(fresh)); !errors.Is(err, failure.Unavailable) {
					t.Errorf("the one that gave up: %v", err)
				}
			})
			synctest.Wait()
			for range 99 {
				wg.Go(func() {
					if got, err := c.Resolve(t.Context(), request(fresh)); err != nil || got.Digest != d("D1") {
						t.Errorf("Resolve = %v, %v", got, err)
					}
				})
			}
			synctest.Wait()
			if b.asked.Load() != 1 {
				t.Errorf("fresh %t: %d look-ups at once, want 1", fresh, b.asked.Load())
			}
			cancel() // the caller that started it goes away: the others get their answer all the same
			synctest.Wait()
			close(b.hold)
			wg.Wait()
			if b.asked.Load() != want {
				t.Errorf("fresh %t: %d look-ups for 100 requests at once, want %d", fresh, b.asked.Load(), want)
			}
		})
	}
}

// pushed is a registry whose tag can be moved while a question is under way.
type pushed struct {
	mu     sync.Mutex
	digest digest.Digest
	hold   chan struct{}
}

func (p *pushed) Resolve(_ context.Context, req resolve.Request) (resolve.Result, error) {
	if err := req.Begin(); err != nil {
		return resolve.Result{}, err
	}
	p.mu.Lock()
	result := resolve.Result{Digest: p.digest}
	p.mu.Unlock()
	<-p.hold // the answer is on its way
	return result, nil
}

// A deploy gets what was pushed before it, also while a question that was sent before the push is
// under way, of its own namespace or another one. So does the first pod of a revision. Other pods
// may have either.
func TestDeployDoesNotJoinWhatWasSent(t *testing.T) {
	deploy, first, churn := request(true), request(false), request(false)
	first.First = true
	for name, tt := range map[string]struct {
		req       resolve.Request
		namespace string
		want      digest.Digest
	}{
		"deploy":                       {deploy, "a", d("new")},
		"deploy in another namespace":  {deploy, "b", d("new")},
		"first pod of a revision":      {first, "a", d("new")},
		"another pod":                  {churn, "a", d("old")},
		"another pod in another place": {churn, "b", d("old")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pushed{digest: d("old"), hold: make(chan struct{})}
				c := &resolve.Cache{Next: p, Answers: &resolve.Answers{}}
				defer c.Answers.Close()
				ask := func(req resolve.Request, namespace string) <-chan digest.Digest {
					req.Namespace = namespace
					answers := make(chan digest.Digest, 1)
					go func() {
						got, err := c.Resolve(t.Context(), req)
						if err != nil {
							t.Error(err)
						}
						answers <- got.Digest
					}()
					synctest.Wait()
					return answers
				}
				before := ask(deploy, "a")
				p.mu.Lock()
				p.digest = d("new")
				p.mu.Unlock()
				after := ask(tt.req, tt.namespace)
				close(p.hold)
				if got := <-before; got != d("old") {
					t.Errorf("the deploy before the push got %s", got)
				}
				if got := <-after; got != tt.want {
					t.Errorf("after the push: %s, want %s", got, tt.want)
				}
				// The answer to the later question is what is remembered, whichever came last.
				if got := <-ask(churn, "c"); got != tt.want {
					t.Errorf("remembered: %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A namespace that has used up its places delays no other one that wants the same image, and its
// name is in no answer to another.
func TestJoinedByAnotherNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1"), hold: make(chan struct{})}
		c := &resolve.Cache{Next: &resolve.Limit{Next: b, Places: resolve.Places(1)}, Answers: &resolve.Answers{}}
		defer c.Answers.Close()
		ask := func(image, namespace string) <-chan error {
			req := request(true)
			req.Ref, req.Namespace = ref.MustParse(image), namespace
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			answers := make(chan error, 1)
			go func() {
				defer cancel()
				_, err := c.Resolve(ctx, req)
				answers <- err
			}()
			synctest.Wait()
			return answers
		}
		ask("hangs.example/a:1", "loud")
		queued := ask("ghcr.io/a/b:1", "loud")
		other := ask("ghcr.io/a/b:1", "other")
		if n := b.asked.Load(); n != 2 {
			t.Fatalf("%d look-ups are under way, want that of the other namespace too", n)
		}
		close(b.hold)
		if err := <-other; err != nil {
			t.Errorf("the other namespace: %v", err)
		}
		if err := <-queued; err != nil {
			t.Errorf("the loud one, whose image was looked up for the other: %v", err)
		}
	})
}

// A panic in a look-up is an error of those that wait for it.
func TestCacheSurvivesAPanic(t *testing.T) {
	reported := 0
	c := &resolve.Cache{
		Next:    resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) { panic("odd manifest") }),
		Answers: &resolve.Answers{Panics: &panics.Reporter{Report: func(*panics.Error) { reported++ }}},
	}
	_, err := c.Resolve(t.Context(), request(true))
	if !errors.Is(err, failure.Unavailable) || strings.Contains(err.Error(), "odd") || reported != 1 {
		t.Errorf("Resolve = %v, reported %d times, want it unavailable, reported once, without the panic's text", err, reported)
	}
	c.Answers.Close()
}

// A new config keeps what is remembered, unless it says something else about the registry.
func TestAnswersOutliveAConfig(t *testing.T) {
	b, answers := &backend{digest: d("D1")}, &resolve.Answers{}
	before := &resolve.Cache{Next: b, Answers: answers}
	after := &resolve.Cache{Next: b, Answers: answers, Settings: func(host string) string {
		if host == "changed.example" {
			return "another CA"
		}
		return ""
	}}
	for image, want := range map[string]int64{"same.example/a:1": 1, "changed.example/a:1": 2} {
		b.asked.Store(0)
		for _, c := range []*resolve.Cache{before, after} {
			req := request(false)
			req.Ref = ref.MustParse(image)
			if _, err := c.Resolve(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			answers.Set(resolve.Limits{Size: 100})
		}
		if got := b.asked.Load(); got != want {
			t.Errorf("%s: %d look-ups, want %d", image, got, want)
		}
	}
}

// A namespace that looks up what others run too, and then images without end, does not push that
// out.
func TestSharedAnswersStay(t *testing.T) {
	b := &backend{digest: d("D1")}
	c := &resolve.Cache{Next: b, Answers: &resolve.Answers{Limits: resolve.Limits{Size: 10}}}
	ask := func(image, namespace string, fresh bool) {
		req := request(fresh)
		req.Ref, req.Namespace = ref.MustParse(image), namespace
		_, _ = c.Resolve(t.Context(), req)
	}
	ask("ghcr.io/a/b:1", "modest", false)
	ask("ghcr.io/a/b:1", "flood", true)
	b.err = failure.NotFound
	for i := range 100 {
		ask(fmt.Sprintf("ghcr.io/a/b:flood-%d", i), "flood", false)
	}
	asked := b.asked.Load()
	if ask("ghcr.io/a/b:1", "modest", false); b.asked.Load() != asked {
		t.Error("the answer that both have asked for was pushed out")
	}
}

// The answer to the question that was asked last counts, whichever comes last.
func TestLaterQuestionWins(t *testing.T) {
	type answer struct {
		digest digest.Digest
		err    error
	}
	gone := fmt.Errorf("gone: %w", failure.NotFound)
	for name, tt := range map[string]struct{ early, late, want answer }{
		"a late 404":    {answer{err: gone}, answer{digest: d("D")}, answer{digest: d("D")}},
		"a late digest": {answer{digest: d("D")}, answer{err: gone}, answer{err: gone}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold, answers := make(chan struct{}), make(chan answer, 2)
				answers <- tt.early
				answers <- tt.late
				first := true
				c := &resolve.Cache{Answers: &resolve.Answers{}, Next: resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
					if err := req.Begin(); err != nil {
						return resolve.Result{}, err
					}
					a, early := <-answers, first
					if first = false; early {
						<-hold
					}
					return resolve.Result{Digest: a.digest}, a.err
				})}
				defer c.Answers.Close()
				ask := func(namespace string, fresh bool) (resolve.Result, error) {
					req := request(fresh)
					req.Namespace = namespace
					return c.Resolve(t.Context(), req)
				}
				go func() { _, _ = ask("a", true) }()
				synctest.Wait()
				time.Sleep(time.Second)
				_, _ = ask("b", true)
				close(hold)
				synctest.Wait()
				got, err := ask("c", false)
				if got.Digest != tt.want.digest || !got.Cached || (err != nil) != (tt.want.err != nil) {
					t.Errorf("remembered: %+v, %v, want %+v", got, err, tt.want)
				}
			})
		})
	}
}

// That a namespace has no room for a manifest is no answer to another one.
func TestCrowdedIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		c := &resolve.Cache{Answers: &resolve.Answers{}, Next: resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			if err := req.Begin(); err != nil {
				return resolve.Result{}, err
			}
			if req.Namespace == "loud" {
				<-hold
				return resolve.Result{}, fmt.Errorf("%w: %w", failure.Unavailable, registry.ErrOfNamespace)
			}
			return resolve.Result{Digest: d("D")}, nil
		})}
		defer c.Answers.Close()
		ask := func(namespace string) <-chan error {
			errs := make(chan error, 1)
			go func() {
				req := request(false)
				req.Namespace = namespace
				_, err := c.Resolve(t.Context(), req)
				errs <- err
			}()
			synctest.Wait()
			return errs
		}
		loud, other := ask("loud"), ask("other")
		close(hold)
		if err := <-loud; !errors.Is(err, failure.Unavailable) {
			t.Errorf("the loud namespace: %v", err)
		}
		if err := <-other; err != nil {
			t.Errorf("the one that had joined: %v", err)
		}
		if err := <-ask("loud"); err != nil {
			t.Errorf("afterwards: %v, want the other one's answer", err)
		}
	})
}

// One namespace that looks up images without end pushes out its own answers, not those of another
// one.
func TestAnswersAreShared(t *testing.T) {
	b := &backend{digest: d("D1")}
	c := &resolve.Cache{Next: b, Answers: &resolve.Answers{Limits: resolve.Limits{Size: 10}}}
	ask := func(image, namespace string) {
		req := request(false)
		req.Ref, req.Namespace = ref.MustParse(image), namespace
		if _, err := c.Resolve(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	ask("ghcr.io/a/b:1", "modest")
	for i := range 100 {
		ask(fmt.Sprintf("ghcr.io/a/b:flood-%d", i), "flood")
	}
	asked := b.asked.Load()
	if ask("ghcr.io/a/b:1", "modest"); b.asked.Load() != asked {
		t.Error("the answer of the modest namespace was pushed out")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := &resolve.Cache{Next: &backend{digest: d("D")}, Answers: &resolve.Answers{Limits: resolve.Limits{Size: 10}}}
	for i := range 100 {
		r := request(false)
		r.Ref = ref.MustParse(fmt.Sprintf("ghcr.io/a/b:%d", i))
		if _, err := c.Resolve(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if c.Answers.Len() != 10 {
		t.Errorf("Len() = %d, want 10", c.Answers.Len())
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c := &resolve.Cache{Next: &backend{digest: d("D")}, Answers: &resolve.Answers{}}
	for name, r := range map[string]resolve.Request{"anonymous": request(false), "secret": request(false, "user")} {
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

// d is a digest that name stands for.
func d(name string) digest.Digest { return resolvetest.Digest(name) }
