// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/tools"
)

// distribution2 is a program of distribution 2, with its images in a folder. Each endpoint is a
// process of its own, behind a server that records the requests.
type distribution2 struct {
	program tools.Program
	args    []string
	dir     string
}

// newDebian returns Debian's docker-registry.
func newDebian(t testing.TB) store {
	return &distribution2{env.dockerRegistry, []string{"serve"}, t.TempDir()}
}

func newDistribution2(t testing.TB) store {
	return &distribution2{program: tools.Program{Path: env.programs.Distribution2}, dir: t.TempDir()}
}

// open starts a process. Its realm is on another host, as that of Docker Hub is.
func (d *distribution2) open(t testing.TB, a access) *endpoint {
	t.Helper()
	e := newEndpoint(t, a)
	realm := &recorder{handler: e.realm}
	if a.tokens() {
		e.realmHost = newServer(t, newLeaf(t, a), realm).Listener.Addr().String()
		env.seen.belongs(e.realmHost, e.owner)
	}
	e.serve(t, func(host string) http.Handler {
		file := filepath.Join(t.TempDir(), "config.yml")
		if err := os.WriteFile(file, e.config(t, d.dir, host), 0o600); err != nil {
			t.Fatal(err)
		}
		return passOn("http://"+d.start(t, file), &http.Transport{DisableKeepAlives: true})
	})
	manifests := e.asked
	e.asked = func() asked { return asked{manifests().Manifests, realm.take().Tokens} }
	return e
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// start starts the program with a config file, and returns its address.
func (d *distribution2) start(t testing.TB, file string) (address string) {
	t.Helper()
	p := &child.Process{
		Path: d.program.Path, Args: append(d.args, file), LogFile: filepath.Join(t.TempDir(), "log"),
		Env: append([]string{"PATH=" + os.Getenv("PATH")}, d.program.Env...),
	}
	t.Cleanup(func() {
		const maxShown = 2 << 10
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if log := p.Log(); t.Failed() {
			t.Logf("the log of %s ends:\n%s", p.Path, log[max(0, len(log)-maxShown):])
		}
	})
	err := startProgram(t.Context(), p, func(context.Context) error {
		found := listening.FindStringSubmatch(p.Log())
		if found == nil {
			return errors.New("it does not listen")
		}
		address = found[1]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// startProgram starts a program and waits until ready returns nil.
func startProgram(
	ctx context.Context, p *child.Process, ready func(context.Context) error,
) error {
	const readyDeadline = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, readyDeadline)
	defer cancel()
	if err := p.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.Path, err)
	}
	if err := p.Wait(ctx, ready); err != nil {
		return fmt.Errorf("starting %s: %w", p.Path, err)
	}
	return nil
}

// passOn returns a proxy to a server, which gets the host that the client has asked for.
func passOn(to string, transport *http.Transport) *httputil.ReverseProxy {
	target, err := url.Parse(to)
	if err != nil {
		panic(err) // to is an address
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // some tests kill the server
	}
}
