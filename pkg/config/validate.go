// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The greatest values. Larger ones are taken for mistakes.
const (
	maxEntries  = 10_000_000
	maxInFlight = 10_000
	maxLabels   = 16               // each label of a pod is compared with all of them
	maxTimeout  = 30 * time.Second // an API server does not wait longer for a webhook
)

// kindName matches what a CRD accepts as its kind: a DNS label with capital letters (RFC 1035,
// section 2.3.1), and resourceName what it accepts as its plural name.
var (
	kindName     = regexp.MustCompile(`^[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$`)
	resourceName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
)

// isName reports whether Kubernetes accepts a text as the name of a Secret or a group.
func isName(text string) bool { return len(content.IsDNS1123Subdomain(text)) == 0 }

// Validate returns an error that names every mistake on a line of its own, with the path of its
// field. It reads no files and does not use the network.
func (c *Config) Validate() error { return errors.Join(c.problems()...) }

func (c *Config) problems() []error {
	p := &problems{}
	p.oneOf("apiVersion", c.APIVersion, APIVersion)
	p.oneOf("kind", c.Kind, Kind)
	_, err := policy.ParseOutput(c.Output)
	p.add("output", err)
	for i, pattern := range c.ExemptImages {
		_, err := policy.ParsePattern(pattern)
		p.add(index("exemptImages", i), err)
	}
	for i, s := range c.SkipOwners {
		_, err := policy.ParseSkipOwner(s.Owner, s.Users)
		p.add(index("skipOwners", i), err)
	}
	c.checkTemplates(p)
	c.checkRevisionLabels(p)
	for _, f := range []struct {
		class failure.Class
		value string
	}{
		{failure.NotFound, c.OnFailure.NotFound},
		{failure.Unauthorized, c.OnFailure.Unauthorized},
		{failure.Unavailable, c.OnFailure.Unavailable},
		{failure.Invalid, c.OnFailure.Invalid},
	} {
		p.oneOf("onFailure."+string(f.class), f.value, Deny, Defer, Allow)
	}
	c.checkCache(p)
	c.checkCredentials(p)
	p.within("maxInFlightPerNamespace", c.MaxInFlightPerNamespace, maxInFlight)
	c.checkRegistries(p)
	p.cidrs("network.allow", c.Network.Allow)
	p.cidrs("network.deny", c.Network.Deny)
	c.checkRegistration(p)
	c.checkServing(p)
	return p.errs
}

func (c *Config) checkTemplates(p *problems) {
	for i, t := range c.Templates {
		field := index("templates", i)
		_, err := workload.NewTable(t.template())
		p.add(field, err)
		p.kind(field, t.Group, t.Kind)
		if t.Resource != "" && !resourceName.MatchString(t.Resource) {
			p.addf(field+".resource", "%q is not a valid name of a resource", t.Resource)
		}
		for _, before := range c.Templates[:i] {
			if before.Group == t.Group && strings.EqualFold(before.Kind, t.Kind) {
				p.addf(field, "the kind is listed twice")
			}
		}
	}
}

func (c *Config) checkRevisionLabels(p *problems) {
	if n := len(c.RevisionLabels); n > maxLabels {
		p.addf("revisionLabels", "%d labels: want at most %d", n, maxLabels)
	}
	for i, label := range c.RevisionLabels {
		field := index("revisionLabels", i)
		if len(content.IsLabelKey(label)) > 0 {
			p.addf(field, "%q is not a valid name of a label, "+
				"such as spark-app-selector or ray.io/cluster", label)
		}
		if slices.Contains(c.RevisionLabels[:i], label) {
			p.addf(field, "%q is listed twice", label)
		}
	}
}

// kind checks the names of a kind, which are put into the expressions of the webhook's
// registration. workload.NewTable reports a missing kind.
func (p *problems) kind(field, group, kind string) {
	if before, _, ok := strings.Cut(group, "/"); ok && isName(before) {
		p.addf(field+".group", "%q has a version: want %s", group, before)
	} else if group != "" && !isName(group) {
		p.addf(field+".group", "%q is not a valid name of an API group, such as argoproj.io", group)
	}
	if kind != "" && !kindName.MatchString(kind) {
		p.addf(field+".kind", "%q is not a valid name of a kind, such as Rollout", kind)
	}
}

func (c *Config) checkCache(p *problems) {
	p.within("cache.size", c.Cache.Size, maxEntries)
	p.positive("cache.ttl", c.Cache.TTL)
	p.positive("cache.negativeTTL", c.Cache.NegativeTTL)
	p.positive("cache.staleFor", c.Cache.StaleFor)
	if c.Cache.StaleFor > 0 && c.Cache.StaleFor < c.Cache.TTL {
		p.addf("cache.staleFor", "%v is less than ttl, %v", c.Cache.StaleFor, c.Cache.TTL)
	}
}

func (c *Config) checkCredentials(p *problems) {
	if path := c.Credentials.DockerConfig; path != "" && !filepath.IsAbs(path) {
		p.addf("credentials.dockerConfig", "%q: want an absolute path", path)
	}
	for i, cloud := range c.Credentials.Clouds {
		field := index("credentials.clouds", i)
		p.oneOf(field, cloud, "google", "amazon", "azure")
		if slices.Contains(c.Credentials.Clouds[:i], cloud) {
			p.addf(field, "%q is listed twice", cloud)
		}
	}
}

func (c *Config) checkRegistries(p *problems) {
	for i := range c.Registries {
		r, field := &c.Registries[i], index("registries", i)
		if r.Host == allHosts {
			p.notForAllHosts(field, r)
		} else {
			p.host(field+".host", r.Host)
			p.connection(field, r)
		}
		sameHost := func(before Registry) bool { return before.Host == r.Host }
		if r.Host != "" && slices.ContainsFunc(c.Registries[:i], sameHost) {
			p.addf(field+".host", "%q is listed twice", r.Host)
		}
		p.positive(field+".timeout", r.Timeout)
		if time.Duration(r.Timeout) > maxTimeout {
			p.addf(field+".timeout", "%v: want at most %v", r.Timeout, maxTimeout)
		}
		p.within(field+".maxInFlight", r.MaxInFlight, maxInFlight)
		if !(r.RequestsPerSecond > 0 && r.RequestsPerSecond <= 1e6) { // also true for NaN
			p.addf(field+".requestsPerSecond",
				"%v: want more than 0 and at most 1000000", r.RequestsPerSecond)
		}
	}
}

// connection checks how a registry is reached, its mirrors and its authHosts.
func (p *problems) connection(field string, r *Registry) {
	if r.CAFile != "" && !filepath.IsAbs(r.CAFile) {
		p.addf(field+".caFile", "%q: want an absolute path", r.CAFile)
	}
	if r.CAFile != "" && r.Insecure {
		p.addf(field+".insecure", "caFile can't be used with plain HTTP")
	}
	for i, m := range r.Mirrors {
		mirrorField := index(field+".mirrors", i) + ".host"
		host, path, hasPath := strings.Cut(m.Host, "/")
		p.host(mirrorField, host)
		if hasPath && isCanonicalHost(host) && !isRepositoryPath(host, path) {
			p.addf(mirrorField, "%q is not a path of repositories", path)
		}
		sameHost := func(before Mirror) bool { return before.Host == m.Host }
		if m.Host == r.Host {
			p.addf(mirrorField, "%q is the registry itself", m.Host)
		} else if slices.ContainsFunc(r.Mirrors[:i], sameHost) {
			p.addf(mirrorField, "%q is listed twice", m.Host)
		}
	}
	for i, h := range r.AuthHosts {
		p.host(index(field+".authHosts", i), h)
	}
}

// notForAllHosts refuses the settings of the host * that are only for a single registry.
func (p *problems) notForAllHosts(field string, r *Registry) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"mirrors", len(r.Mirrors) > 0},
		{"caFile", r.CAFile != ""},
		{"insecure", r.Insecure},
		{"authHosts", len(r.AuthHosts) > 0},
	} {
		if f.set {
			p.addf(field+"."+f.name, "not for the host *: set it for a named registry")
		}
	}
}

func (c *Config) checkRegistration(p *problems) {
	if name := c.Registration.Name; name != "" && !isName(name) {
		p.addf("registration.name", "%q is not a valid name of a MutatingWebhookConfiguration", name)
	}
	pins := slices.Sorted(slices.Values(c.Registration.Pin))
	if !slices.Equal(pins, []string{Pods}) && !slices.Equal(pins, []string{Pods, Workloads}) {
		p.addf("registration.pin", "%q: want [workloads, pods], or [pods] alone", c.Registration.Pin)
	}
}

func (c *Config) checkServing(p *problems) {
	p.oneOf("certificates.mode", c.Certificates.Mode, SelfManaged, Mounted)
	if !isName(c.Certificates.Secret) {
		p.addf("certificates.secret", "%q is not a valid name of a Secret", c.Certificates.Secret)
	}
	if len(content.IsDNS1123Label(c.Certificates.Service)) > 0 { // a part of the DNS name
		p.addf("certificates.service", "%q is not a valid name of a Service", c.Certificates.Service)
	}
	if t := c.Observability.Tracing; t != "" && !isEndpoint(t) {
		// The value may contain a secret, so the error does not quote it.
		p.addf("observability.tracing", "want the URL of an OTLP endpoint over HTTP, "+
			"such as http://collector:4318, without user, query and fragment")
	}
	if a := c.Observability.Pprof; a != "" && !isLoopback(a) {
		p.addf("observability.pprof",
			"%q: want a loopback address with a port, such as localhost:6060", a)
	}
}

func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func isLoopback(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// isRepositoryPath reports whether a path, without tag and digest, may follow a host in a
// reference.
func isRepositoryPath(host, path string) bool {
	_, err := ref.Parse(host + "/" + path)
	return err == nil && !strings.ContainsAny(path, ":@")
}

// isCanonicalHost reports whether the host is spelled as in canonical references.
func isCanonicalHost(host string) bool {
	r, err := ref.Parse(host + "/a")
	return err == nil && r.Host() == host && r.Path() == "a" || host == "docker.io"
}
