// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"fmt"
	"slices"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

const (
	// allHosts is the name of the registry whose mirrors count for all.
	allHosts = "*"
	// hub is Docker Hub's name in references, and hubAPI that of the host which serves it.
	hub, hubAPI = "docker.io", "registry-1.docker.io"
)

// entry is a registry of tagpin's config, with the fields that are translated.
type entry struct {
	Host           string    `yaml:"host"`
	Mirrors        *[]mirror `yaml:"mirrors,omitempty"` // nil: not set
	CAFile         string    `yaml:"caFile,omitempty"`
	ClientCertFile string    `yaml:"clientCertFile,omitempty"`
	ClientKeyFile  string    `yaml:"clientKeyFile,omitempty"`
	Insecure       bool      `yaml:"insecure,omitempty"`
}

// mirror is a mirror of tagpin's config.
type mirror struct {
	Host         string           `yaml:"host"`
	OverridePath bool             `yaml:"overridePath,omitempty"`
	Resolve      bool             `yaml:"resolve,omitempty"`
	Rewrites     []config.Rewrite `yaml:"rewrites,omitempty"`
}

// builder collects registries and notes.
type builder struct {
	all   []*entry
	own   []string        // registries of which the node has settings, whatever is translated of them
	plain map[string]bool // whether a host is asked over plain HTTP
	notes []string
}

// note adds a note about a file or a host.
func (b *builder) note(about, format string, args ...any) {
	b.notes = append(b.notes, about+": "+fmt.Sprintf(format, args...))
}

// entry returns the entry of a registry, which it adds if there is none.
func (b *builder) entry(host string) *entry {
	for _, e := range b.all {
		if isSame(e.Host, host, e.Insecure) {
			return e
		}
	}
	e := &entry{Host: host}
	b.all = append(b.all, e)
	return e
}

// has records that the node has settings of a registry, so that containerd does not use those of
// all registries for it. It reads those of Docker Hub under the name docker.io alone.
func (b *builder) has(host string) {
	if isHost(host) && (host == hub || !isSame(host, hub, false)) {
		b.own = append(b.own, host)
	}
}

// isSame reports whether two names are those of one registry.
func isSame(one, other string, plain bool) bool {
	own := registry.Host{Name: one, Insecure: plain}
	return own.Same(registry.Host{Name: other, Insecure: plain})
}

// entries returns the entries that say something. A registry of which the node has settings, but no
// mirrors, says so only if there are mirrors of all registries, which it would have otherwise.
func (b *builder) entries() []*entry {
	forAll := slices.ContainsFunc(b.all, func(e *entry) bool {
		return e.Host == allHosts && e.Mirrors != nil && len(*e.Mirrors) > 0
	})
	for _, host := range b.own {
		if e := b.entry(host); e.Mirrors == nil {
			e.Mirrors = &[]mirror{}
		}
	}
	return slices.DeleteFunc(b.all, func(e *entry) bool {
		if e.Mirrors != nil && len(*e.Mirrors) == 0 && !forAll {
			e.Mirrors = nil
		}
		return *e == entry{Host: e.Host}
	})
}

// add translates how a registry is asked. from is the file that says so.
func (b *builder) add(from, host string, endpoints []endpoint) {
	if host != allHosts && !isHost(host) {
		b.note(from, "%s is not a registry host as in an image reference; it is left out", host)
		return
	}
	mirrors := []mirror{}
	own := b.entry(host)
	asked := false // the registry itself
	for _, e := range endpoints {
		at := from + ": " + e.address
		problem := e.parse()
		itself := e.host != "" && isSame(e.host, host, e.plain) && e.api == "/v2" && len(e.rewrites) == 0
		if problem == "" && !itself {
			problem = e.noMirror(mirrors)
		}
		if problem != "" {
			b.note(at, "%s; it is left out", problem)
			continue
		}
		for _, sentence := range e.left {
			b.note(at, "%s", sentence)
		}
		b.secure(at, e)
		switch {
		case itself:
			asked = true
			continue
		case asked:
			b.note(at, "tagpin asks it before the registry itself, and not after")
		case e.server:
			b.note(at, "tagpin asks it as the last mirror, and then the registry itself")
		}
		mirrors = append(mirrors, e.mirror())
	}
	own.Mirrors = &mirrors
}

// secure translates how connections to an endpoint are made.
func (b *builder) secure(at string, e endpoint) {
	if b.plain == nil {
		b.plain = map[string]bool{}
	}
	if plain, known := b.plain[e.host]; known && plain != e.plain {
		b.note(at, "tagpin asks a host over HTTP or HTTPS, but not both; the first one counts")
		return
	}
	b.plain[e.host] = e.plain
	hasFiles := e.ca != "" || e.cert != ""
	switch {
	case e.plain:
		b.entry(e.host).Insecure = true
		if hasFiles {
			b.note(at, "it is asked over HTTP, so that its certificates are left out")
		}
	case hasFiles:
		own := b.entry(e.host)
		if own.CAFile+own.ClientCertFile != "" && (own.CAFile != e.ca || own.ClientCertFile != e.cert) {
			b.note(at, "another file has other certificates for this host; the first ones count")
			return
		}
		own.CAFile, own.ClientCertFile, own.ClientKeyFile = e.ca, e.cert, e.key
	}
}

// isHost reports whether a host is spelled as in canonical references.
func isHost(host string) bool {
	r, err := ref.Parse(host + "/a")
	return err == nil && r.Host() == host
}
