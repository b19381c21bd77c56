// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/netip"
	"time"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Policy returns the settings of package policy. It fails only if Validate does.
func (c *Config) Policy() (policy.Policy, error) {
	output, err := policy.ParseOutput(c.Output)
	p, errs := policy.Policy{Output: output, IgnoreRestart: !c.RefreshOnRestart}, []error{err}
	for _, s := range c.ExemptImages {
		pattern, err := policy.ParsePattern(s)
		p.Exempt, errs = append(p.Exempt, pattern), append(errs, err)
	}
	for _, s := range c.SkipOwners {
		owner, err := policy.ParseSkipOwner(s.Owner, s.Users)
		p.SkipOwners, errs = append(p.SkipOwners, owner), append(errs, err)
	}
	return p, errors.Join(errs...)
}

// Table returns the table of the built-in kinds and those of the file. It fails only if Validate
// does.
func (c *Config) Table() (*workload.Table, error) {
	templates := make([]workload.Template, len(c.Templates))
	for i, t := range c.Templates {
		templates[i] = t.template()
	}
	table, err := workload.NewTable(templates...)
	table.Labels = c.RevisionLabels
	return table, err
}

func (t Template) template() workload.Template {
	return workload.Template{Group: t.Group, Kind: t.Kind, Paths: t.Paths}
}

// Client returns a new client of registries. It fails only if Validate does. The client's Init
// reads the CA files.
func (c *Config) Client() (*registry.Client, error) {
	allow, errAllow := prefixes(c.Network.Allow)
	deny, errDeny := prefixes(c.Network.Deny)
	client := &registry.Client{Network: network.Rules{Allow: allow, Deny: deny}}
	for i := range c.Registries {
		client.Hosts = append(client.Hosts, c.Registries[i].host())
	}
	return client, errors.Join(errAllow, errDeny)
}

func (r *Registry) host() registry.Host {
	h := registry.Host{
		Name:              r.Host,
		Timeout:           time.Duration(r.Timeout),
		MaxInFlight:       r.MaxInFlight,
		RequestsPerSecond: r.RequestsPerSecond,
		Verify:            r.Verify,
		CAFile:            r.CAFile,
		Insecure:          r.Insecure,
		AuthHosts:         r.AuthHosts,
	}
	for _, m := range r.Mirrors {
		h.Mirrors = append(h.Mirrors, registry.Mirror(m))
	}
	return h
}

func prefixes(list []string) ([]netip.Prefix, error) {
	var parsed []netip.Prefix
	var errs []error
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		parsed, errs = append(parsed, p), append(errs, err)
	}
	return parsed, errors.Join(errs...)
}

// Limits returns how many answers of registries are remembered, and for how long.
func (c *Config) Limits() resolve.Limits {
	return resolve.Limits{
		Size:        c.Cache.Size,
		TTL:         time.Duration(c.Cache.TTL),
		NegativeTTL: time.Duration(c.Cache.NegativeTTL),
		StaleFor:    time.Duration(c.Cache.StaleFor),
	}
}
