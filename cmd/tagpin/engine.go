// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// engine is what the webhook's config file, if any, makes for a run of a command.
type engine struct {
	table    *workload.Table
	client   *registry.Client
	mirrors  *resolve.Mirrors
	resolver resolve.Resolver
	pinner   *pin.Pinner
	keychain keychain.Keychain
}

// newEngine reads the config at path; an empty one gives the defaults.
func newEngine(path string, report func(error)) (*engine, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	policy, errPolicy := c.Policy()
	table, errTable := c.Table()
	client, errClient := c.Client()
	if err := errors.Join(errPolicy, errTable, errClient); err != nil {
		return nil, err
	}
	client.UserAgent, client.ExplainAll = "tagpin/"+moduleVersion(), true
	if err := client.Init(); err != nil {
		return nil, err
	}
	e := &engine{
		table: table, client: client, keychain: &keychain.Local{Report: report},
		mirrors: &resolve.Mirrors{Next: &resolve.Credentials{Next: &resolve.Registry{Client: client}}, Client: client},
	}
	e.resolver = &once{next: e.mirrors}
	e.pinner = &pin.Pinner{Policy: policy, Resolver: e.resolver}
	return e, nil
}

func (e *engine) close() { e.client.Close() }

// once asks for each image a single time: one run has one answer, whatever a registry says a second later. All requests
// are of one user and end together.
type once struct {
	next resolve.Resolver

	mu    sync.Mutex
	asked map[string]func() (resolve.Result, error)
}

// Resolve asks, or waits for who asked first.
func (o *once) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	key := req.Ref.Canonical()
	o.mu.Lock()
	if o.asked == nil {
		o.asked = map[string]func() (resolve.Result, error){}
	}
	ask, ok := o.asked[key]
	if !ok {
		ask = sync.OnceValues(func() (resolve.Result, error) { return o.next.Resolve(ctx, req) })
		o.asked[key] = ask
	}
	o.mu.Unlock()
	return ask()
}
