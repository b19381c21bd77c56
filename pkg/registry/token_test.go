// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry/auth"
)

// tokens is a registry whose token endpoint waits.
type tokens struct {
	*Client
	asked  chan *http.Request // requests for tokens
	answer chan struct{}      // closed when they may be answered
}

func newTokens() *tokens {
	s := &tokens{asked: make(chan *http.Request, 100), answer: make(chan struct{})}
	s.Client = over(handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			withToken("https://r.example/token", nil)(w, r)
			return
		}
		s.asked <- r
		select {
		case <-s.answer:
			_, _ = w.Write([]byte(`{"token":"t"}`)) // without a lifetime
		case <-r.Context().Done():
		}
	}))
	return s
}

// head asks for a tag with a user's credential, and returns where the error will be.
func (s *tokens) head(ctx context.Context, tag, user string) <-chan error {
	req := head("r.example/a:"+tag, "")
	login := authn.AuthConfig{Username: user, Password: "canary"}
	req.Credentials = []keychain.Credential{{Auth: login}}
	errs := make(chan error, 1)
	go func() {
		_, err := s.Head(ctx, req)
		errs <- err
	}()
	return errs
}

// TestOneToken checks that lookups with one credential in one repository share the request for a
// token while it is under way, and then the token, until its end.
func TestOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		var errs []<-chan error
		for i := range 20 {
			errs = append(errs, s.head(t.Context(), fmt.Sprint(i), fmt.Sprint("u", i%2)))
		}
		synctest.Wait()
		if n := len(s.asked); n != 2 {
			t.Errorf("requests for tokens under way = %d, want one for each credential", n)
		}
		close(s.answer)
		for _, err := range errs {
			if err := <-err; err != nil {
				t.Error(err)
			}
		}
		if n := len(s.asked); n != 2 {
			t.Errorf("requests for tokens = %d, want 2", n)
		}
		time.Sleep(auth.DefaultLifetime)
		if err := <-s.head(t.Context(), "1", "u0"); err != nil || len(s.asked) != 3 {
			t.Errorf("after the token's end: %v, %d requests for tokens, want 3", err, len(s.asked))
		}
	})
}

// TestTokenOutlivesItsFirstCaller checks that a request for a token goes on when the caller that
// has started it leaves or has no more time. The other callers get its answer, and no gate is
// closed, because the registry had not had its time.
func TestTokenOutlivesItsFirstCaller(t *testing.T) {
	for name, leave := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"it leaves": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		},
		"its time ends": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTokens()
				ctx, cancel := leave(t.Context())
				defer cancel()
				first := s.head(ctx, "1", "u")
				synctest.Wait()
				second := s.head(t.Context(), "2", "u")
				if err := <-first; err == nil {
					t.Error("the first caller's error = nil, want one")
				}
				time.Sleep(time.Second)
				close(s.answer)
				if err := <-second; err != nil || len(s.asked) != 1 {
					t.Errorf("%v after %d requests for tokens, want an answer after 1", err, len(s.asked))
				}
			})
		})
	}
}

// TestTokenHangs checks that a request for a token has the time of any request, and is not repeated
// at once.
func TestTokenHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTokens()
		begin := time.Now()
		err := <-s.head(t.Context(), "1", "u")
		took := time.Since(begin)
		if !strings.Contains(fmt.Sprint(err), "r.example (token): ") || took != DefaultTimeout {
			t.Errorf("%v after %v, want an error of the token endpoint after %v", err, took, DefaultTimeout)
		}
		err = <-s.head(t.Context(), "2", "u")
		if !strings.Contains(fmt.Sprint(err), "not asked again for 1s") || len(s.asked) != 1 {
			t.Errorf("%v after %d requests for tokens, want no second one", err, len(s.asked))
		}
	})
}

// TestTokenWaitsForItsOwnTurn checks that a lookup does not wait for the turn that a lookup of
// another namespace with the same credential waits for at the host of the token endpoint.
func TestTokenWaitsForItsOwnTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasPrefix(r.URL.Path, "/v2/hold"):
				<-r.Context().Done()
			case r.URL.Path == "/token":
				_, _ = w.Write([]byte(`{"token":"t"}`))
			default:
				withToken("https://busy.example/token", nil)(w, r)
			}
		}), Host{Name: "busy.example", MaxInFlight: 2}) // one for each namespace
		begin := time.Now()
		go func() { _, _ = c.Head(t.Context(), head("busy.example/hold:1", "a")) }()
		synctest.Wait()
		waiting := make(chan error, 1)
		go func() { _, err := c.Head(t.Context(), head("r.example/app:1", "a")); waiting <- err }()
		synctest.Wait()
		_, err := c.Head(t.Context(), head("r.example/app:1", "b"))
		if took := time.Since(begin); err != nil || took > 0 {
			t.Errorf("Head of another namespace = %v after %v, want an answer at once", err, took)
		}
		if err := <-waiting; err != nil {
			t.Errorf("Head of the namespace that waits = %v, want the token of the other one", err)
		}
		c.Learned.Close()
	})
}

// TestRealmOfAnotherTeam checks that a login is not sent to a token endpoint that only repositories
// of another team have named: behind a host that routes by path, it may be that team's own server.
func TestRealmOfAnotherTeam(t *testing.T) {
	var sent []string // the token endpoints that got the login of team b
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		team, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
		if strings.HasSuffix(r.URL.Path, "/token") {
			if user, _, _ := r.BasicAuth(); user == "b" {
				sent = append(sent, r.URL.Path)
			}
			_, _ = w.Write([]byte(`{"token":"t"}`))
			return
		}
		withToken("https://r.example/"+team+"/token", nil)(w, r)
	}))
	for _, image := range []string{"a/x", "a/y", "b/x", "b/y"} {
		req := head("r.example/"+image+":1", "")
		login := authn.AuthConfig{Username: image[:1], Password: "canary"}
		req.Credentials = []keychain.Credential{{Auth: login}}
		if _, err := c.Head(t.Context(), req); err != nil {
			t.Errorf("%s: %v", image, err)
		}
	}
	if want := []string{"/b/token", "/b/token"}; !slices.Equal(sent, want) {
		t.Errorf("the login of team b was sent to %q, want %q", sent, want)
	}
}
