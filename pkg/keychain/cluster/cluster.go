// SPDX-License-Identifier: Apache-2.0

// Package cluster returns the credentials that the kubelet would pull with. It reads pull secrets
// and service accounts from the API server.
//
// It reads them with the verb get, never with list or watch, and remembers them for a few seconds.
// A secret that is missing, forbidden or malformed is counted and left out. If the API server does
// not answer, the credentials are marked as unread. Package keychain matches and orders the
// credentials. This package sends nothing to a registry.
package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Cluster returns Keychains for pull identities. The fields must not change after the first call.
// It is safe for concurrent use.
type Cluster struct {
	// Get reads secrets and service accounts. If nil, there are no pull secrets.
	Get Get
	// Shared returns the Keychain that comes after the pull secrets of a namespace, for the shared
	// Docker config and the clouds. If nil, there is none.
	Shared func(namespace string) keychain.Keychain
	// Metrics counts the reads. If nil, they are not counted.
	Metrics *Metrics
	// Panics reports panics that occur while an object of a tenant is parsed. For the callers, the
	// object could not be read. If nil, panics are not reported.
	Panics *panics.Reporter

	once    sync.Once
	readers fair.Queue // the lookups that have to read secrets
	known   cache.Memory[key, object]
	flights cache.Flights[key, object]
}

// For returns the Keychain of a pull identity in a namespace. It reads nothing before Credentials
// is called.
func (c *Cluster) For(namespace string, id workload.Identity) keychain.Keychain {
	c.once.Do(c.init)
	return &identity{cluster: c, namespace: namespace, Identity: id}
}

// Close cancels the reads that are under way and waits for them. Later calls read nothing.
func (c *Cluster) Close() { c.flights.Close() }

// identity is the Keychain of a pull identity.
type identity struct {
	cluster   *Cluster
	namespace string
	workload.Identity
}

// Credentials returns the credentials of the identity's secrets and then the shared ones. It reads
// the secrets that are not remembered, a few at the same time. If fresh is true, it reads each
// secret that was not read within the last second.
func (id *identity) Credentials(
	ctx context.Context, r ref.Reference, fresh bool,
) []keychain.Credential {
	c := id.cluster
	var own []authn.AuthConfig
	complete := true
	if c.Get != nil {
		own, complete = id.own(ctx, r, fresh)
	}
	var shared []keychain.Credential
	if c.Shared != nil {
		shared = c.Shared(id.namespace).Credentials(ctx, r, fresh)
	}
	if len(own) == 0 && complete {
		return shared
	}
	creds := make([]keychain.Credential, len(own), len(own)+1+len(shared))
	for i, auth := range own {
		creds[i].Auth = auth
	}
	if !complete {
		creds = append(creds, keychain.Credential{Unread: true})
	}
	tried := len(own)
	for _, s := range shared {
		switch {
		case s.Unread: // not a credential, so it does not count as tried
			creds = append(creds, s)
		case slices.Contains(own, s.Auth): // a registry may lock out a user who tries twice
		case tried < keychain.MaxCandidates:
			creds = append(creds, s)
			tried++
		default:
			c.Metrics.countLeft(1)
		}
	}
	return creds
}

// own returns the credentials in the identity's secrets. complete is false if the API server did
// not answer for one of them.
//
// A secret may be large, and be forgotten before the next lookup needs it. So lookups that have to
// read wait for the turn of their namespace.
func (id *identity) own(
	ctx context.Context, r ref.Reference, fresh bool,
) (auths []authn.AuthConfig, complete bool) {
	c := id.cluster
	secrets, complete := id.secrets(ctx, fresh)
	if len(secrets) > workload.MaxPullSecrets {
		c.Metrics.count(secretKind, tooMany)
		secrets = secrets[:workload.MaxPullSecrets]
	}
	missing := func(name string) bool {
		_, ok := c.remembered(key{id.namespace, secretKind, name}, fresh)
		return !ok
	}
	if slices.ContainsFunc(secrets, missing) {
		if leave, err := c.readers.Enter(ctx, id.namespace, 1); err == nil {
			defer leave()
		} // else ctx has ended, and nothing is read
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readersTime)
		defer cancel()
		// First come those for which the lookups before had no time. The others have a content that can
		// be used if there is no time for them now.
		if unread := id.unread(secrets); len(unread) < len(secrets) {
			id.rings(ctx, unread, fresh)
		}
	}
	rings, known := id.rings(ctx, secrets, fresh)
	auths, left := keychain.Lookup(r, rings...)
	c.Metrics.countLeft(left)
	return auths, complete && known
}

// unread returns those of some secrets whose content is not known, or no longer counts if they
// can't be read.
func (id *identity) unread(secrets []string) (unread []string) {
	for _, name := range secrets {
		if o, _ := id.cluster.known.Get(key{id.namespace, secretKind, name}); !o.recent() {
			unread = append(unread, name)
		}
	}
	return unread
}

// rings returns the keyrings of secrets, in order, and reads a few at a time. That of a secret
// without one is nil. Secrets are left out when those before them have more than maxRings bytes.
// known is false if the API server did not answer for one of them.
func (id *identity) rings(
	ctx context.Context, secrets []string, fresh bool,
) (rings []*keychain.Keyring, known bool) {
	size := 0
	known = true
	for names := range slices.Chunk(secrets, readsOfOne) {
		if size > maxRings {
			id.cluster.Metrics.count(secretKind, tooMany)
			break
		}
		objects := make([]object, len(names))
		var reads sync.WaitGroup
		for i, name := range names {
			k := key{id.namespace, secretKind, name}
			var ok bool
			if objects[i], ok = id.cluster.remembered(k, fresh); !ok {
				reads.Go(func() { objects[i] = id.cluster.object(ctx, k, fresh) })
			}
		}
		reads.Wait()
		for _, o := range objects {
			rings, known = append(rings, o.ring), known && o.known()
			size += o.size()
		}
	}
	return rings, known
}

// secrets returns the names of the pod's pull secrets. If it has none, it returns those of its
// service account. known is false if the service account could not be read.
func (id *identity) secrets(ctx context.Context, fresh bool) (secrets []string, known bool) {
	if len(id.PullSecrets) > 0 {
		return id.PullSecrets, true
	}
	k := key{id.namespace, accountKind, cmp.Or(id.ServiceAccount, "default")}
	account := id.cluster.object(ctx, k, fresh)
	return account.secrets, account.known()
}
