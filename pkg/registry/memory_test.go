// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// wordy is a registry that says as much as it can in all that might be remembered.
type wordy struct{}

func (wordy) RoundTrip(r *http.Request) (*http.Response, error) {
	long := strings.Repeat("x", 48<<10)
	resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{}, Body: http.NoBody, Request: r}
	switch {
	case r.URL.Path == "/token":
		resp.StatusCode = http.StatusOK
		resp.Body = io.NopCloser(strings.NewReader(`{"token":"` + long + `","expires_in":3600}`))
	case r.Header.Get("Authorization") == "":
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer realm="https://`+r.URL.Host+`/token",service="`+long+`"`)
	}
	return resp, nil
}

// What is remembered of registries, credentials and repositories has a bound, however long the
// texts are: tenants write passwords, and choose registries that answer with what they like.
func TestMemoryIsBounded(t *testing.T) {
	c := &Client{}
	if err := c.Init(); err != nil {
		t.Fatal(err)
	}
	c.over(wordy{})
	before := heap()
	for i := range 400 {
		auth := authn.AuthConfig{Username: fmt.Sprint(i), Password: strings.Repeat("p", 64<<10)}
		image := ref.MustParse(fmt.Sprintf("r%d.example/a:1", i))
		if _, err := c.Head(t.Context(), Request{Ref: image, Credentials: []keychain.Credential{{Auth: auth}}, Namespace: fmt.Sprint(i)}); err == nil {
			t.Fatal("an answer")
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d MiB are held of 400 registries and passwords", grown>>20)
	}
	runtime.KeepAlive(c)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // no heap is that large
}

// open is a registry that gives anybody a token for any repository, and counts those requests.
type open struct{ tokens atomic.Int64 }

func (o *open) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	switch {
	case r.URL.Path == "/token":
		o.tokens.Add(1)
		resp.Body = io.NopCloser(strings.NewReader(`{"token":"t","expires_in":3600}`))
	case r.Header.Get("Authorization") == "":
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer realm="https://`+r.URL.Host+`/token"`)
	}
	return resp, nil
}

// A namespace that asks for many made-up repositories makes tagpin forget nothing that it has
// learned for other namespaces, also where the config names the registry.
func TestNamedRegistryIsShared(t *testing.T) {
	o := &open{}
	c := &Client{Hosts: []Host{{Name: "r.example", RequestsPerSecond: 1e6}}}
	_ = c.Init()
	c.over(o)
	ask := func(path, namespace string) {
		t.Helper()
		if _, err := c.Head(t.Context(), head("r.example/"+path+":1", namespace)); err != nil {
			t.Fatal(err)
		}
	}
	ask("app", "modest")
	modest := c.one(head("r.example/wrong:1", "modest"))
	modest.judge(refusal())
	for i := range 2 * maxTokens {
		ask(fmt.Sprint("flood/", i), "flood")
	}
	for i := range 2 * maxGates {
		c.one(head(fmt.Sprint("r.example/flood/", i, ":1"), "flood")).judge(refusal())
	}
	before := o.tokens.Load()
	if ask("app", "modest"); o.tokens.Load() != before {
		t.Error("the token of another namespace is forgotten")
	}
	if closed(c.state.gates, modest.gates()) == nil {
		t.Error("the gate of another namespace's repository is forgotten")
	}
}

// What several namespaces have learned belongs to none of them.
func TestLearnedBySeveral(t *testing.T) {
	m := &cache.Memory[string, owned[int]]{Owner: ownerOf[string, int]}
	for _, tt := range []struct{ namespace, owner string }{
		{"a", "a"}, {"a", "a"}, {"b", ""}, {"a", ""}, {"b", ""},
	} {
		learn(m, "k", 1, tt.namespace, time.Minute)
		if v, _ := m.Get("k"); v.owner != tt.owner {
			t.Errorf("learned by %s, the owner is %q, want %q", tt.namespace, v.owner, tt.owner)
		}
	}
}
