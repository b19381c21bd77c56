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
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// maxReads bounds the reads under way: the answers, which may be of 1 MiB each, are in memory at once.
	maxReads = 32
	// maxPerNamespace bounds those of one namespace: whoever may make pods there can name secrets without end.
	maxPerNamespace = 8
	// maxWaiting bounds the reads of a namespace that wait for a place. Those of two pods may.
	maxWaiting = 128
)

// Getter reads the two kinds of object that credentials stand in. Its methods obey the context.
type Getter interface {
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
}

// Places returns the queue of FromClient.
func Places() *fair.Queue {
	return &fair.Queue{Capacity: maxReads, Share: maxPerNamespace, Backlog: maxWaiting}
}

// FromClient is a Getter that asks the API server every time, by get, when there is a place: of one
// namespace more wait, and when too many do a further one fails, while others are read.
func FromClient(c corev1client.CoreV1Interface, places *fair.Queue) Getter {
	return &client{api: c, places: places}
}

type client struct {
	api    corev1client.CoreV1Interface
	places *fair.Queue
}

func (c *client) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	leave, err := c.places.Enter(ctx, namespace, 1)
	if err != nil {
		return nil, err
	}
	defer leave()
	return c.api.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (c *client) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	leave, err := c.places.Enter(ctx, namespace, 1)
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
	// Size is how many secrets, and how many service accounts, are remembered. If there are more, the
	// namespace with most of them loses its oldest one. Default: 4096.
	Size int
	// Bytes is about how many bytes they may hold: a secret may be of 1 MiB, and its author is a
	// tenant. The same holds for these. Default: 16 MiB.
	Bytes int
	// Timeout of one read. Default: 2 s.
	Timeout time.Duration
	// Metrics counts the reads. Nil: none.
	Metrics *Metrics
	// Panics is told of panics while a secret is parsed, which a tenant wrote. To its readers, such a
	// secret could not be read. Default: nobody is told.
	Panics *panics.Reporter

	once     sync.Once
	secrets  reads[*keychain.Keyring]
	accounts reads[names]
}

// For is the Keychain of a pull identity in a namespace. It reads nothing by itself.
func (c *Cluster) For(namespace string, id workload.Identity) keychain.Keychain {
	c.once.Do(c.init)
	return &identity{cluster: c, namespace: namespace, Identity: id}
}

func (c *Cluster) init() {
	c.secrets.init(c, secretKind, "reading a pull secret", c.readSecret)
	c.accounts.init(c, accountKind, "reading a service account", c.readAccount)
}

// Close cancels the reads in flight and waits for them. Afterwards nothing more is read.
func (c *Cluster) Close() {
	c.secrets.flights.Close()
	c.accounts.flights.Close()
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

// rings adds the keyrings of the secrets that can be read, in order. whole is false if one is
// missing because the API server gave no answer.
func (id *identity) rings(
	ctx context.Context, fresh bool, rings []*keychain.Keyring,
) (_ []*keychain.Keyring, whole bool) {
	c := id.cluster
	secrets, whole := id.secrets(ctx, fresh)
	if len(secrets) > workload.MaxPullSecrets {
		c.Metrics.count(secretKind, tooMany)
		secrets = secrets[:workload.MaxPullSecrets]
	}
	var missing []int // of secrets, that have to be read
	first := len(rings)
	for i, name := range secrets {
		o, ok := c.secrets.remembered(key{id.namespace, name}, fresh)
		if !ok {
			missing = append(missing, i)
		}
		whole = whole && (!ok || !o.good.IsZero())
		rings = append(rings, o.value)
	}
	if !id.read(ctx, secrets, missing, fresh, rings[first:]) {
		whole = false
	}
	return slices.DeleteFunc(rings, func(k *keychain.Keyring) bool { return k == nil }), whole
}

// read reads those secrets that are missing, side by side, into their places of rings. It returns
// false if the API server gave no answer about one.
func (id *identity) read(
	ctx context.Context, secrets names, missing []int, fresh bool, rings []*keychain.Keyring,
) (whole bool) {
	if len(missing) == 0 {
		return true
	}
	var wg sync.WaitGroup
	known := make([]bool, len(missing))
	for n, i := range missing {
		wg.Go(func() {
			rings[i], known[n] = id.cluster.secrets.get(ctx, key{id.namespace, secrets[i]}, fresh)
		})
	}
	wg.Wait()
	return !slices.Contains(known, false)
}

// secrets are the names of the pod's pull secrets, or else of its service account's. known is
// false if the account could not be read.
func (id *identity) secrets(ctx context.Context, fresh bool) (secrets names, known bool) {
	if len(id.PullSecrets) > 0 {
		return id.PullSecrets, true
	}
	account := key{id.namespace, cmp.Or(id.ServiceAccount, "default")}
	return id.cluster.accounts.get(ctx, account, fresh)
}
