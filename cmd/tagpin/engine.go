// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// engine has the parts that a command uses, set up from the webhook's config file.
type engine struct {
	table    *workload.Table
	client   *registry.Client
	mirrors  *resolve.Mirrors
	pinner   *pin.Pinner
	keychain keychain.Keychain
}

// newEngine reads the config file at path. If path is empty, the defaults are used. report is
// called with errors of the local credentials.
func newEngine(path string, report func(error)) (*engine, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	client := c.Client()
	client.UserAgent, client.ExplainAll = "tagpin/"+moduleVersion(), true
	if err := client.Init(); err != nil {
		return nil, err
	}
	e := &engine{
		table: c.Table(), client: client, keychain: &keychain.Local{Report: report},
		mirrors: &resolve.Mirrors{
			Next:   &resolve.Credentials{Next: &resolve.Registry{Client: client}},
			Client: client,
		},
	}
	e.pinner = &pin.Pinner{Policy: c.Policy(), Resolver: &once{next: e.mirrors}}
	return e, nil
}

// once resolves each image only once, so that all references to it get the same digest in one run,
// even if the tag is moved meanwhile. It is safe to share results between requests, because all of
// them belong to the same user and have the same context.
type once struct {
	next    resolve.Resolver
	lookups sync.Map // from a canonical reference to a func() (resolve.Result, error)
}

// Resolve resolves an image, or waits for the result of an earlier request for the same image.
func (o *once) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	lookup, _ := o.lookups.LoadOrStore(req.Ref.Canonical(),
		sync.OnceValues(func() (resolve.Result, error) { return o.next.Resolve(ctx, req) }))
	return lookup.(func() (resolve.Result, error))()
}
