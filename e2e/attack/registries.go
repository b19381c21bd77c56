// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// manyContainers is the number of images of an object.
	manyContainers = 64
	manyHosts      = 4
)

// together makes n calls of f at the same time.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// inParallel returns a round that makes n calls of f at the same time. Whether the calls succeed
// does not matter.
func inParallel(n int, f func(ctx context.Context, i int)) Round {
	return func(ctx context.Context) error {
		together(n, func(i int) { f(ctx, i) })
		return nil
	}
}

// handler handles the requests to a host.
type handler = func(*Host, http.ResponseWriter, *http.Request)

// serveAll starts a registry for each handler.
func (t *Tenant) serveAll(ctx context.Context, handlers ...handler) (hosts []*Host, err error) {
	for _, handle := range handlers {
		h, err := t.Serve(ctx, handle)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// object returns the Deployment or Pod number i of a round, with images of a host.
type object = func(h *Host, target *Victim, i int) any

// serving starts a registry with a handler. In each round it deploys n objects at the same time.
func serving(name string, handle handler, n int, newObject object) Attack {
	return Attack{name, func(ctx context.Context, t *Tenant, target *Victim) (Round, error) {
		h, err := t.Serve(ctx, handle)
		if err != nil {
			return nil, err
		}
		return inParallel(n, func(ctx context.Context, i int) {
			_, _ = t.deploy(ctx, newObject(h, target, i))
		}), nil
	}}
}

// some returns a Deployment with a few images of a host.
func some(h *Host, _ *Victim, i int) any {
	var images []string
	for j := range 8 {
		images = append(images, h.image(8*i+j))
	}
	return newDeployment(images)
}

// Queue fills the attacker's share of concurrent lookups with images of a host that hangs, and then
// asks for the victim's images. The victim must not wait in the attacker's queue.
func Queue() Attack {
	return serving("queue", hang, 4, func(h *Host, target *Victim, i int) any {
		var images []string
		for j := range manyContainers {
			images = append(images, h.image(manyContainers*i+j))
		}
		return newDeployment(append(images, target.images()...))
	})
}

// Redirects has a registry that redirects for ever.
func Redirects() Attack { return serving("redirects", redirectForever, 8, some) }

// Realm has registries whose challenges name a token realm elsewhere: at the victim's registry, at
// a cloud's metadata address, or at the API server.
func Realm() Attack {
	return Attack{"realms", func(ctx context.Context, t *Tenant, target *Victim) (Round, error) {
		var challenges []handler
		for _, realm := range []string{
			"https://" + hostOf(target.images()[0]) + "/token",
			"http://169.254.169.254/latest/meta-data/",
			"https://10.96.0.1/api", "https://127.0.0.1:6443/",
		} {
			text := fmt.Sprintf(`Bearer realm=%q,service="s",scope="repository:team/app:pull"`, realm)
			challenges = append(challenges, challenge(text))
		}
		hosts, err := t.serveAll(ctx, challenges...)
		if err != nil {
			return nil, err
		}
		return inParallel(len(hosts), func(ctx context.Context, i int) {
			_, _ = t.deploy(ctx, some(hosts[i], target, 0))
		}), nil
	}}
}

// Rude has registries whose answers contain control characters, terminal escapes and the victim's
// name. No user may see any of it.
func Rude() Attack {
	return Attack{"rude-answers", func(ctx context.Context, t *Tenant, target *Victim) (Round, error) {
		text := "\x1b[2J\x1b]0;owned\x07 ask " + target.Namespace + "\r\n"
		body := fmt.Sprintf(`{"errors":[{"code":"DENIED","message":%q}]}`, text)
		const end = "\r\nContent-Length: 0\r\n\r\n"
		red := "\x1b[31m" + target.Namespace
		var answers []handler
		for _, answer := range []string{
			"HTTP/1.1 404 " + strings.TrimSpace(text) + end,
			fmt.Sprintf("HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
			"HTTP/1.1 200 OK\r\nContent-Type: " + imageType + red + end,
			"HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:" + red + end,
			"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"" + red + `"` + end,
			"HTTP/1.1 307 Moved\r\nLocation: https://127.0.0.1:1/" + red + end,
			text,
		} {
			answers = append(answers, raw(answer))
		}
		hosts, err := t.serveAll(ctx, answers...)
		if err != nil {
			return nil, err
		}
		return inParallel(len(hosts), func(ctx context.Context, i int) {
			_, _ = t.deploy(ctx, newPod([]string{hosts[i].image(0)}))
		}), nil
	}}
}

// Stall deploys 64 images of registries that send all of a large manifest except its last byte.
func Stall() Attack {
	return Attack{"stalled-manifests", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		hosts, err := t.serveAll(ctx, slices.Repeat([]handler{stall}, manyHosts)...)
		if err != nil {
			return nil, err
		}
		var images []string
		for _, h := range hosts {
			for i := range manyContainers / manyHosts {
				images = append(images, h.image(i))
			}
		}
		return func(ctx context.Context) error {
			_, _ = t.deploy(ctx, newDeployment(images))
			return nil
		}, nil
	}}
}

// ManyStalls deploys images of many such registries from several namespaces.
func ManyStalls() Attack {
	return Attack{"many-stalled-manifests", func(
		ctx context.Context, t *Tenant, _ *Victim,
	) (Round, error) {
		const namespaces, registries, pods = 15, 16, 4
		hosts, err := t.serveAll(ctx, slices.Repeat([]handler{stall}, registries)...)
		if err != nil {
			return nil, err
		}
		if err := t.more(ctx, namespaces); err != nil {
			return nil, err
		}
		return inParallel(namespaces*pods, func(ctx context.Context, i int) {
			var images []string
			for _, h := range hosts {
				images = append(images, fmt.Sprintf("%s-%d", h.image(0), i))
			}
			_, _ = t.others[i%namespaces].deploy(ctx, newPod(images))
		}), nil
	}}
}

// Hosts deploys images of thousands of hosts that refuse connections.
func Hosts() Attack {
	return Attack{"many-hosts", func(_ context.Context, t *Tenant, _ *Victim) (Round, error) {
		next := 0
		return func(ctx context.Context) error {
			const objects = 32
			first := next
			next += objects * manyContainers
			together(objects, func(i int) {
				var images []string
				for j := range manyContainers {
					n := first + i*manyContainers + j
					host := fmt.Sprintf("127.%d.%d.%d:1", 100+n>>16&63, n>>8&255, n&255)
					images = append(images, host+"/team/app:1")
				}
				_, _ = t.deploy(ctx, newDeployment(images))
			})
			return nil
		}, nil
	}}
}

// LongRedirects has registries that redirect to an address of 30,000 bytes, and then close the
// connection. Each lookup is of another repository, so that nothing is remembered twice.
func LongRedirects() Attack {
	return Attack{"long-redirects", func(
		ctx context.Context, t *Tenant, _ *Victim,
	) (Round, error) {
		const registries, objects = 16, 16
		hosts, err := t.serveAll(ctx, slices.Repeat([]handler{redirectFar}, registries)...)
		if err != nil {
			return nil, err
		}
		var next atomic.Int64
		return inParallel(objects, func(ctx context.Context, _ int) {
			var images []string
			for range manyContainers {
				n := int(next.Add(1))
				images = append(images, hosts[n%registries].image(n))
			}
			_, _ = t.deploy(ctx, newDeployment(images))
		}), nil
	}}
}
