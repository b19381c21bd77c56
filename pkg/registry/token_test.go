// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/auth"
)

// wire is a registry without a network: a token endpoint that waits until it is let go, and
// manifests for its tokens.
type wire struct {
	tokens chan *http.Request
	answer chan struct{}
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil { // as a transport reports it
		trace.GetConn(r.URL.Host)
		trace.GotConn(httptrace.GotConnInfo{})
		trace.WroteHeaders()
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
	switch auth := r.Header.Get("Authorization"); {
	case r.URL.Path == "/token":
		w.tokens <- r
		select {
		case <-w.answer:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		user, _, _ := r.BasicAuth()
		resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"token":"of-%s"}`, user)))
	case !strings.HasPrefix(auth, "Bearer of-"):
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer realm="https://r.example/token"`)
	}
	return resp, nil
}

func start() (*wire, *Client) {
	w := &wire{tokens: make(chan *http.Request, 100), answer: make(chan struct{})}
	c := &Client{}
	_ = c.Init()
	c.over(w)
	return w, c
}

func (c *Client) head(ctx context.Context, tag, user string) error {
	_, err := c.Head(ctx, Request{
		Ref: ref.MustParse("r.example/a:" + tag), Credentials: []keychain.Credential{{Auth: authn.AuthConfig{Username: user, Password: "canary"}}},
	})
	return err
}

// Look-ups side by side in one repository share the request for a token; another credential has its
// own.
func TestOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := start()
		errs := make(chan error, 20)
		for i := range 20 {
			go func() { errs <- c.head(t.Context(), fmt.Sprint(i), fmt.Sprint("u", i%2)) }()
		}
		synctest.Wait()
		if n := len(w.tokens); n != 2 {
			t.Errorf("%d requests for tokens under way, want one for each credential", n)
		}
		close(w.answer)
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := len(w.tokens); n != 2 {
			t.Errorf("%d requests for tokens, want 2", n)
		}
		time.Sleep(auth.DefaultLifetime)
		if err := c.head(t.Context(), "1", "u0"); err != nil || len(w.tokens) != 3 {
			t.Errorf("after its end: %v, %d requests for tokens, want 3", err, len(w.tokens))
		}
	})
}

// Who began the request for a token and goes away takes it from nobody.
func TestTokenOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := start()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.head(ctx, "1", "u") }()
		synctest.Wait()
		go func() { second <- c.head(t.Context(), "2", "u") }()
		synctest.Wait()
		cancel()
		if err := <-first; err == nil {
			t.Error("an answer for who went away")
		}
		close(w.answer)
		if err := <-second; err != nil || len(w.tokens) != 1 {
			t.Errorf("%v after %d requests for tokens, want 1", err, len(w.tokens))
		}
	})
}

// A caller with little time left ends the request for a token for itself alone: the next one gets
// the answer, and no gate is closed, since the registry's own time was not over.
func TestTokenOutlivesItsCallersBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.head(ctx, "1", "u") }()
		synctest.Wait()
		go func() { second <- c.head(t.Context(), "2", "u") }()
		if err := <-first; err == nil {
			t.Error("Manifest = nil after the caller's time, want an error")
		}
		time.Sleep(time.Second)
		close(w.answer)
		if err := <-second; err != nil || len(w.tokens) != 1 {
			t.Errorf("Manifest = %v after %d requests for tokens, want an answer after 1", err, len(w.tokens))
		}
	})
}

// A token endpoint that hangs ends with the time of a request, and is not asked by everybody for
// all that time.
func TestTokenHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := start()
		begin := time.Now()
		err := c.head(t.Context(), "1", "u")
		if err == nil || !strings.Contains(err.Error(), "r.example (token): ") || time.Since(begin) != DefaultTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := c.head(t.Context(), "2", "u"); err == nil || !strings.Contains(err.Error(), "not asked again for 1s") || len(w.tokens) != 1 {
			t.Errorf("%v after %d requests for tokens", err, len(w.tokens))
		}
	})
}
