// SPDX-License-Identifier: Apache-2.0

package config

import (
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Policy returns the settings of package policy. The config must be valid.
func (c *Config) Policy() policy.Policy { return c.policy(&problems{}) }

func (c *Config) policy(p *problems) policy.Policy {
	output, err := policy.ParseOutput(c.Output)
	p.add("output", err)
	rules := policy.Policy{
		Output: output, LeaveShortNames: c.ShortNames == ShortNamesLeave,
		IgnoreRestart: !c.RefreshOnRestart,
	}
	for i, s := range c.ExemptImages {
		pattern, err := policy.ParsePattern(s)
		p.add(index("exemptImages", i), err)
		rules.Exempt = append(rules.Exempt, pattern)
	}
	for i, s := range c.SkipOwners {
		owner, err := policy.ParseSkipOwner(s.Owner, s.Users)
		p.add(index("skipOwners", i), err)
		rules.SkipOwners = append(rules.SkipOwners, owner)
	}
	return rules
}

// Actions returns what happens to an object after a failure of each class.
func (f *OnFailure) Actions() failure.Actions {
	return failure.Actions{
		failure.NotFound:     failure.Action(f.NotFound),
		failure.Unauthorized: failure.Action(f.Unauthorized),
		failure.Unavailable:  failure.Action(f.Unavailable),
		failure.Invalid:      failure.Action(f.Invalid),
	}
}

// Table returns the table of the built-in kinds and those of the file. The config must be valid.
func (c *Config) Table() *workload.Table {
	table := &workload.Table{Labels: c.RevisionLabels, RefreshAnnotations: c.RefreshAnnotations}
	for _, t := range c.Templates {
		_ = t.addTo(table) // validation reports the error of each template
	}
	return table
}

func (t Template) addTo(table *workload.Table) error {
	return table.Add(workload.Kind{Group: t.Group, Kind: t.Kind}, t.Paths, t.Images)
}

// Client returns a new client of registries. The config must be valid. The client's Init reads the
// TLS files.
func (c *Config) Client() *registry.Client {
	client := &registry.Client{}
	client.Network.Rules = c.Network.rules(&problems{})
	for _, r := range c.Registries {
		host := registry.Host{
			Name:              r.Host,
			Timeout:           time.Duration(r.Timeout),
			MaxInFlight:       r.MaxInFlight,
			RequestsPerSecond: r.RequestsPerSecond,
			Verify:            r.Verify,
			TLS: network.TLSFiles{
				CA: r.CAFile, ClientCert: r.ClientCertFile, ClientKey: r.ClientKeyFile,
			},
			Insecure:  r.Insecure,
			AuthHosts: r.AuthHosts,
		}
		if r.Mirrors != nil { // otherwise those of all hosts count
			host.Mirrors = make([]registry.Mirror, len(r.Mirrors))
		}
		for i, m := range r.Mirrors {
			host.Mirrors[i] = m.convert()
		}
		client.Hosts = append(client.Hosts, host)
	}
	return client
}

func (n Network) rules(p *problems) network.Rules {
	return network.Rules{
		Allow: p.cidrs("network.allow", n.Allow), Deny: p.cidrs("network.deny", n.Deny),
	}
}

// Limits returns for how long answers of registries are remembered.
func (c *Config) Limits() resolve.Limits {
	return resolve.Limits{
		TTL:         time.Duration(c.Cache.TTL),
		NegativeTTL: time.Duration(c.Cache.NegativeTTL),
		StaleFor:    time.Duration(c.Cache.StaleFor),
	}
}
