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

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Bounds: beyond them a number is a mistake. A scan compares each label of a pod with all maxLabels.
const (
	maxEntries  = 10_000_000
	maxInFlight = 10_000
	maxLabels   = 16
	maxTimeout  = 30 * time.Second // the longest that an API server waits for a webhook
)

// dnsName is what Kubernetes takes for the name of a secret or a group (RFC 1123, section 2.1), but for its length.
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func isName(text string) bool { return len(text) <= 253 && dnsName.MatchString(text) }

// kindName is what a CRD takes for its kind: a label (RFC 1035, section 2.3.1), in which capitals are usual.
var kindName = regexp.MustCompile(`^[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$`)

// resourceName is what a CRD takes for the plural of its names (RFC 1035, section 2.3.1).
var resourceName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// labelName is the name of a label, without a prefix: what the API server takes for one
// (apimachinery's content.IsLabelKey).
var labelName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)

func isLabel(text string) bool {
	prefix, name, prefixed := strings.Cut(text, "/")
	if !prefixed {
		return labelName.MatchString(text)
	}
	return isName(prefix) && labelName.MatchString(name)
}

// Validate names every mistake at once, one a line, each with the path of its field. It reads no file and asks no network.
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
	for _, f := range []struct{ field, value string }{
		{"notFound", c.OnFailure.NotFound},
		{"unauthorized", c.OnFailure.Unauthorized},
		{"unavailable", c.OnFailure.Unavailable},
		{"invalid", c.OnFailure.Invalid},
	} {
		p.oneOf("onFailure."+f.field, f.value, Deny, Defer, Allow)
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
			p.addf(field+".resource", "%q is no name of a resource", t.Resource)
		}
		for _, before := range c.Templates[:i] {
			if before.Group == t.Group && strings.EqualFold(before.Kind, t.Kind) {
				p.addf(field, "the kind is there already")
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
		if !isLabel(label) {
			p.addf(field, "%q is no name of a label, such as spark-app-selector or ray.io/cluster", label)
		}
		if slices.Contains(c.RevisionLabels[:i], label) {
			p.addf(field, "%q is there already", label)
		}
	}
}

// kind checks the names of a kind, which go into the expressions of the webhook's registration. That there is one is checked
// elsewhere.
func (p *problems) kind(field, group, kind string) {
	if before, _, ok := strings.Cut(group, "/"); ok && isName(before) {
		p.addf(field+".group", "%q has a version in it: want %s alone", group, before)
	} else if group != "" && !isName(group) {
		p.addf(field+".group", "%q is no name of an API group, such as argoproj.io", group)
	}
	if kind != "" && !kindName.MatchString(kind) {
		p.addf(field+".kind", "%q is no name of a kind, such as Rollout", kind)
	}
}

func (c *Config) checkCache(p *problems) {
	p.within("cache.size", c.Cache.Size, maxEntries)
	p.positive("cache.ttl", c.Cache.TTL)
	p.positive("cache.negativeTTL", c.Cache.NegativeTTL)
	if p.positive("cache.staleFor", c.Cache.StaleFor); c.Cache.StaleFor < c.Cache.TTL && c.Cache.StaleFor > 0 {
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
			p.addf(field, "%q is there already", cloud)
		}
	}
}

func (c *Config) checkRegistries(p *problems) {
	for i := range c.Registries {
		r, field := &c.Registries[i], index("registries", i)
		if r.Host == allHosts {
			p.defaultsAlone(field, r)
		} else {
			p.host(field+".host", r.Host)
			p.reach(field, r)
		}
		if slices.ContainsFunc(c.Registries[:i], func(before Registry) bool { return before.Host == r.Host }) && r.Host != "" {
			p.addf(field+".host", "%q is there already", r.Host)
		}
		if p.positive(field+".timeout", r.Timeout); time.Duration(r.Timeout) > maxTimeout {
			p.addf(field+".timeout", "%v: want at most %v", r.Timeout, maxTimeout)
		}
		p.within(field+".maxInFlight", r.MaxInFlight, maxInFlight)
		if !(r.RequestsPerSecond > 0 && r.RequestsPerSecond <= 1e6) { // NaN too
			p.addf(field+".requestsPerSecond", "%v: want more than 0, and at most 1000000", r.RequestsPerSecond)
		}
	}
}

// reach checks how a registry is reached, and the other hosts that it has.
func (p *problems) reach(field string, r *Registry) {
	if r.CAFile != "" && !filepath.IsAbs(r.CAFile) {
		p.addf(field+".caFile", "%q: want an absolute path", r.CAFile)
	}
	if r.CAFile != "" && r.Insecure {
		p.addf(field+".insecure", "plain HTTP has no use for a caFile")
	}
	for i, m := range r.Mirrors {
		at := index(field+".mirrors", i) + ".host"
		host, path, below := strings.Cut(m.Host, "/")
		p.host(at, host)
		if _, err := ref.Parse(host + "/" + path); below && canonicalHost(host) && (err != nil || strings.ContainsAny(path, ":@")) {
			p.addf(at, "%q is no path of repositories", path)
		}
		if m.Host == r.Host || slices.ContainsFunc(r.Mirrors[:i], func(before Mirror) bool { return before.Host == m.Host }) {
			p.addf(at, "%q is there already", m.Host)
		}
	}
	for i, h := range r.AuthHosts {
		p.host(index(field+".authHosts", i), h)
	}
}

// defaultsAlone refuses for all hosts what is one host's.
func (p *problems) defaultsAlone(field string, r *Registry) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"mirrors", len(r.Mirrors) > 0}, {"caFile", r.CAFile != ""}, {"insecure", r.Insecure}, {"authHosts", len(r.AuthHosts) > 0},
	} {
		if f.set {
			p.addf(field+"."+f.name, "not for the host *: name the registry")
		}
	}
}

func (c *Config) checkRegistration(p *problems) {
	if name := c.Registration.Name; name != "" && !isName(name) {
		p.addf("registration.name", "%q is no name of a MutatingWebhookConfiguration", name)
	}
	pins := slices.Sorted(slices.Values(c.Registration.Pin))
	if !slices.Equal(pins, []string{Pods}) && !slices.Equal(pins, []string{Pods, Workloads}) {
		p.addf("registration.pin", "%q: want [workloads, pods], or [pods] alone", c.Registration.Pin)
	}
}

func (c *Config) checkServing(p *problems) {
	p.oneOf("certificates.mode", c.Certificates.Mode, SelfManaged, Mounted)
	if !isName(c.Certificates.Secret) {
		p.addf("certificates.secret", "%q is no name of a secret", c.Certificates.Secret)
	}
	if !isName(c.Certificates.Service) {
		p.addf("certificates.service", "%q is no name of a service", c.Certificates.Service)
	}
	if t := c.Observability.Tracing; t != "" && !endpoint(t) { // it may hold a secret, and is not repeated
		p.addf("observability.tracing", "want the URL of an OTLP endpoint over HTTP, such as http://collector:4318, without user, query and fragment")
	}
	if a := c.Observability.Pprof; a != "" && !loopback(a) {
		p.addf("observability.pprof", "%q: want a loopback address with a port, such as localhost:6060", a)
	}
}

func endpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func loopback(address string) bool {
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

// canonicalHost tells whether references have the host as it is spelled here.
func canonicalHost(host string) bool {
	r, err := ref.Parse(host + "/a")
	return err == nil && r.Host() == host && r.Path() == "a" || host == "docker.io"
}
