// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"cmp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Case is a case: how hosts behave, what is looked up, and which requests and result that must lead
// to. Its name begins with the number of a row of pkg/registry/README.md.
type Case struct {
	Name        string
	Rules       Rules
	Host        registry.Host         // the settings of the registry
	More        []registry.Host       // those of other hosts
	Image       string                // default: {registry}/app:1
	Credentials []keychain.Credential // to be tried, in order
	Times       int                   // the number of lookups, one after another; default: 1
	Stale       bool                  // not a deploy, so that an answer may be remembered

	Asked []string      // tagpin's requests, in order
	Want  string        // the body whose digest is the answer; "" for an error
	Class failure.Class // "": none
	Says  string        // a part of the error, with {registry} and so on for the hosts
	Most  int64         // the maximum number of bytes that hosts can write; 0: any
}

// Cases returns the cases of all rows that are about what a registry answers.
func Cases() []Case {
	return slices.Concat(digestCases, authCases, limitCases, redirectCases, hostileCases)
}

// Reference returns what is looked up.
func (c Case) Reference(w *World) string { return w.Expand(cmp.Or(c.Image, "{registry}/app:1")) }

// Digest returns the digest that is wanted, or "" for an error.
func (c Case) Digest() digest.Digest {
	if c.Want == "" {
		return ""
	}
	return digest.FromString(c.Want)
}

// Hosts returns the settings of the case's registries, with the addresses that there are now.
func (c Case) Hosts(w *World) []registry.Host {
	c.Host.Name = "{registry}"
	c.Host.Timeout = cmp.Or(c.Host.Timeout, time.Minute) // for slow machines
	hosts := append(slices.Clone(c.More), c.Host)
	for i := range hosts {
		h := &hosts[i]
		h.Name = w.Expand(h.Name)
		h.AuthHosts, h.Mirrors = slices.Clone(h.AuthHosts), slices.Clone(h.Mirrors)
		for j := range h.AuthHosts {
			h.AuthHosts[j] = w.Expand(h.AuthHosts[j])
		}
		for j := range h.Mirrors {
			h.Mirrors[j].Host = w.Expand(h.Mirrors[j].Host)
		}
	}
	return hosts
}

// Users returns the passwords of users.
func Users(names ...string) (creds []keychain.Credential) {
	for _, name := range names {
		creds = append(creds, keychain.Credential{Auth: Credential(name)})
	}
	return creds
}

// Shared returns the password of a user, as one that all namespaces share.
func Shared(user string) keychain.Credential {
	return keychain.Credential{Auth: Credential(user), Shared: true}
}
