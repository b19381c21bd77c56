// SPDX-License-Identifier: Apache-2.0

// Package cluster gives the credentials that the kubelet would pull with: it reads pull secrets and service accounts from
// the API server.
//
// It reads by get alone, never by list or watch, and remembers what it read for seconds; what is gone, forbidden or
// malformed is counted and left out, and what the API server gave no answer about is marked as unread. Matching and order
// are package keychain's. It sends nothing to a registry.
package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/place"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// maxSecrets bounds what one pod can make tagpin read.
	maxSecrets = 64
	// maxReads bounds the reads under way: the answers, which may be of 1 MiB each, are in memory at once.
	maxReads = 32
	// maxPerNamespace bounds those of one namespace: whoever may make pods there can name secrets without end.
	maxPerNamespace = 8
	// waiting is how many reads of a namespace may wait for each that is under way. Those of two pods may.
	waiting = 16
)

// Getter reads the two kinds of object that credentials stand in. Its methods obey the context.
type Getter interface {
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
}

// FromClient is a Getter that asks the API server every time, by get, and a bounded number of times at once: of one
// namespace more wait, and when too many do a further one fails, while others are read.
func FromClient(c corev1client.CoreV1Interface) Getter {
	return &client{api: c, places: place.Places{Each: maxPerNamespace, All: maxReads, Waiting: waiting}}
}

type client struct {
	api    corev1client.CoreV1Interface
	places place.Places
}

func (c *client) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	leave, _, err := c.places.Enter(ctx, namespace)
	if err != nil {
		return nil, err
	}
	defer leave()
	return c.api.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (c *client) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	leave, _, err := c.places.Enter(ctx, namespace)
	if err != nil {
		return nil, err
	}
	defer leave()
	return c.api.ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
}

// Cluster gives Keychains for pull identities. It is safe for concurrent use; its fields are set before its first use.
type Cluster struct {
	// Getter reads the API server. Nil: no pull secrets, only Shared.
	Getter Getter
	// Shared returns what is asked after the pull secrets of a namespace: a Docker config for all, the
	// clouds. Nil: nothing.
	Shared func(namespace string) keychain.Keychain
	// TTL is how long a secret or service account is remembered. Default: 5 s.
	TTL time.Duration
	// Size is how many secrets, and how many service accounts, are remembered. Default: 4096.
	Size int
	// Bytes is how many bytes, about, they may hold: a secret may be of 1 MiB, and its author is a tenant. Default: 16 MiB.
	Bytes int
	// Timeout of one read. Default: 2 s.
	Timeout time.Duration
	// Metrics counts the reads. Nil: none.
	Metrics *Metrics

	secrets  memory[*keychain.Keyring]
	accounts memory[names]
}

// For is the Keychain of a pull identity in a namespace. It reads nothing by itself.
func (c *Cluster) For(namespace string, id workload.Identity) keychain.Keychain {
	return &identity{cluster: c, namespace: namespace, Identity: id}
}

// Close cancels the reads in flight and waits for them. Afterwards nothing more is read.
func (c *Cluster) Close() {
	c.secrets.close()
	c.accounts.close()
}

// identity is what one pod spec would pull with.
type identity struct {
	cluster   *Cluster
	namespace string
	workload.Identity
}

// Credentials reads the identity's secrets side by side, unless they are remembered; with fresh it reads them again, but
// each at most once a second.
func (id *identity) Credentials(ctx context.Context, r ref.Reference, fresh bool) []keychain.Credential {
	c := id.cluster
	var own []authn.AuthConfig
	whole := true
	if c.Getter != nil {
		var room [4]*keychain.Keyring // most pods have fewer
		var rings []*keychain.Keyring
		rings, whole = id.rings(ctx, fresh, room[:0])
		var left int
		own, left = keychain.Lookup(r, rings...)
		c.Metrics.countLeft(left)
	}
	var shared []keychain.Credential
	if c.Shared != nil {
		shared = c.Shared(id.namespace).Credentials(ctx, r, fresh)
	}
	if len(own) == 0 && whole {
		return shared
	}
	creds := make([]keychain.Credential, len(own), len(own)+1+len(shared))
	for i, auth := range own {
		creds[i].Auth = auth
	}
	if !whole {
		creds = append(creds, keychain.Credential{Unread: true})
	}
	tried := len(own)
	for _, s := range shared {
		switch {
		case s.Unread: // none to try, but another time there may be
			creds = append(creds, s)
		case slices.Contains(own, s.Auth): // tried already: registries lock out a user who tries again
		case tried < keychain.MaxCandidates:
			creds = append(creds, s)
			tried++
		default:
			c.Metrics.countLeft(1)
		}
	}
	return creds
}

// rings adds the keyrings of the secrets that can be read, in order. whole tells that nothing is missing for want of an
// answer.
func (id *identity) rings(ctx context.Context, fresh bool, rings []*keychain.Keyring) (_ []*keychain.Keyring, whole bool) {
	c := id.cluster
	secrets, whole := id.secrets(ctx, fresh)
	if len(secrets) > maxSecrets {
		c.Metrics.count(secretKind, tooMany)
		secrets = secrets[:maxSecrets]
	}
	var room [4]*item[*keychain.Keyring]
	items := room[:0]
	for _, name := range secrets {
		items = append(items, c.secrets.get(c, key{id.namespace, name}, fresh, c.readSecret))
	}
	for _, it := range items {
		ring, known := it.wait(ctx)
		whole = whole && known
		if ring != nil {
			rings = append(rings, ring)
		}
	}
	return rings, whole
}

// secrets are the names of the pod's pull secrets, or else of its service account's. known tells whether that could be read.
func (id *identity) secrets(ctx context.Context, fresh bool) (secrets names, known bool) {
	if len(id.PullSecrets) > 0 {
		return id.PullSecrets, true
	}
	account := cmp.Or(id.ServiceAccount, "default")
	return id.cluster.accounts.get(id.cluster, key{id.namespace, account}, fresh, id.cluster.readAccount).wait(ctx)
}
