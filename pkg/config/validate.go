// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The greatest values. Larger ones are taken for mistakes.
const (
	maxEntries  = 10_000_000
	maxInFlight = 10_000
	maxLabels   = 16               // each label of a pod is compared with all of them
	maxMarkers  = 8                // the API server compares each of them at each update
	maxPaths    = 32               // the API server evaluates an expression for each
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

// validate returns an error for every mistake, with the path of its field and, if root is the file
// of the config, the line of the field. It reads no files and does not use the network.
func (c *Config) validate(root *yaml.Node) []error {
	p := &problems{root: root}
	p.oneOf("apiVersion", c.APIVersion, APIVersion)
	p.oneOf("kind", c.Kind, Kind)
	c.policy(p)
	p.oneOf("shortNames", c.ShortNames, ShortNamesDockerHub, ShortNamesLeave)
	c.checkTemplates(p)
	c.checkMetadata(p)
	actions := []string{"deny", "defer", "allow"}
	p.oneOf("onFailure.notFound", c.OnFailure.NotFound, actions...)
	p.oneOf("onFailure.unauthorized", c.OnFailure.Unauthorized, actions...)
	p.oneOf("onFailure.unavailable", c.OnFailure.Unavailable, actions...)
	p.oneOf("onFailure.invalid", c.OnFailure.Invalid, actions...)
	c.checkCache(p)
	c.checkCredentials(p)
	p.within("maxInFlightPerNamespace", c.MaxInFlightPerNamespace, maxInFlight)
	c.checkRegistries(p)
	c.Network.rules(p)
	c.checkRegistration(p)
	c.checkServing(p)
	return p.errs
}

func (c *Config) checkTemplates(p *problems) {
	for i, t := range c.Templates {
		field := index("templates", i)
		p.add(field, t.addTo(new(workload.Table)))
		n := len(t.Paths) + len(t.Images)
		p.check(n <= maxPaths, field, "%d paths and images: want at most %d", n, maxPaths)
		// The names are put into the expressions of the webhook's registration. The table reports a
		// missing kind.
		group, _, hasVersion := strings.Cut(t.Group, "/")
		hasVersion = hasVersion && isName(group)
		p.check(!hasVersion, field+".group", "%q has a version: want %s", t.Group, group)
		p.check(t.Group == "" || isName(t.Group) || hasVersion, field+".group",
			"%q is not a valid name of an API group, such as argoproj.io", t.Group)
		p.check(t.Kind == "" || kindName.MatchString(t.Kind), field+".kind",
			"%q is not a valid name of a kind, such as Rollout", t.Kind)
		p.check(t.Resource == "" || resourceName.MatchString(t.Resource), field+".resource",
			"%q is not a valid name of a resource", t.Resource)
		sameKind := func(before Template) bool {
			return before.Group == t.Group && strings.EqualFold(before.Kind, t.Kind)
		}
		p.check(!slices.ContainsFunc(c.Templates[:i], sameKind), field, "the kind is listed twice")
	}
}

func (c *Config) checkMetadata(p *problems) {
	p.keys("revisionLabels", c.RevisionLabels, maxLabels,
		"labels", "a label, such as spark-app-selector or ray.io/cluster")
	const field = "refreshAnnotations"
	p.keys(field, c.RefreshAnnotations, maxMarkers,
		"annotations", "an annotation, such as keel.sh/update-time")
	for i, name := range c.RefreshAnnotations {
		p.check(!strings.HasPrefix(name, "tagpin.dev/"), index(field, i),
			"%q is tagpin's own: leave it out", name)
		p.check(name != workload.AnnotationRestartedAt, index(field, i),
			"%q: see refreshOnRestart", name)
	}
}

// keys checks a list of names of labels or annotations: how many there are, that each is valid, and
// that none is listed twice. plural and valid are words for its errors.
func (p *problems) keys(field string, names []string, most int, plural, valid string) {
	p.check(len(names) <= most, field, "%d %s: want at most %d", len(names), plural, most)
	for i, name := range names {
		p.check(len(content.IsLabelKey(name)) == 0, index(field, i),
			"%q is not a valid name of %s", name, valid)
		p.check(!slices.Contains(names[:i], name), index(field, i), "%q is listed twice", name)
	}
}

func (c *Config) checkCache(p *problems) {
	p.within("cache.size", c.Cache.Size, maxEntries)
	p.positive("cache.ttl", c.Cache.TTL)
	p.positive("cache.negativeTTL", c.Cache.NegativeTTL)
	p.positive("cache.staleFor", c.Cache.StaleFor)
	p.check(c.Cache.StaleFor <= 0 || c.Cache.StaleFor >= c.Cache.TTL, "cache.staleFor",
		"%v is less than ttl, %v", c.Cache.StaleFor, c.Cache.TTL)
}

func (c *Config) checkCredentials(p *problems) {
	p.absolute("credentials.dockerConfig", c.Credentials.DockerConfig)
	for i, cloud := range c.Credentials.Clouds {
		field := index("credentials.clouds", i)
		p.oneOf(field, cloud, "google", "amazon", "azure")
		p.check(!slices.Contains(c.Credentials.Clouds[:i], cloud), field, "%q is listed twice", cloud)
	}
}

func (c *Config) checkRegistries(p *problems) {
	for i, r := range c.Registries {
		field := index("registries", i)
		if r.Host == allHosts {
			p.notForAllHosts(field, r)
		} else {
			p.host(field+".host", r.Host)
			p.connection(field, r)
		}
		p.mirrors(field+".mirrors", r)
		same := slices.IndexFunc(c.Registries[:i], func(before Registry) bool {
			return before.identity().Same(r.identity())
		})
		p.check(r.Host == "" || same < 0, field+".host",
			"%q is listed twice: %s is the same registry", r.Host, index("registries", same))
		p.positive(field+".timeout", r.Timeout)
		p.check(time.Duration(r.Timeout) <= maxTimeout, field+".timeout",
			"%v: want at most %v", r.Timeout, maxTimeout)
		p.within(field+".maxInFlight", r.MaxInFlight, maxInFlight)
		p.check(r.RequestsPerSecond > 0 && r.RequestsPerSecond <= 1e6, // false for NaN
			field+".requestsPerSecond", "%v: want more than 0 and at most 1000000", r.RequestsPerSecond)
	}
}

// identity returns the fields that tell which registry it is.
func (r Registry) identity() registry.Host {
	return registry.Host{Name: r.Host, Insecure: r.Insecure}
}

// connection checks how a registry is reached, and its authHosts.
func (p *problems) connection(field string, r Registry) {
	p.absolute(field+".caFile", r.CAFile)
	p.absolute(field+".clientCertFile", r.ClientCertFile)
	p.absolute(field+".clientKeyFile", r.ClientKeyFile)
	p.check((r.ClientCertFile == "") == (r.ClientKeyFile == ""), field+".clientCertFile",
		"clientCertFile and clientKeyFile belong together: set both or none")
	p.check(r.CAFile == "" && r.ClientCertFile == "" || !r.Insecure, field+".insecure",
		"caFile and clientCertFile can't be used with plain HTTP")
	for i, h := range r.AuthHosts {
		p.host(index(field+".authHosts", i), h)
	}
}

// notForAllHosts refuses the settings of the host * that are only for a single registry.
func (p *problems) notForAllHosts(field string, r Registry) {
	const why = "not for the host *: set it for a named registry"
	p.check(r.CAFile == "", field+".caFile", why)
	p.check(r.ClientCertFile == "", field+".clientCertFile", why)
	p.check(r.ClientKeyFile == "", field+".clientKeyFile", why)
	p.check(!r.Insecure, field+".insecure", why)
	p.check(len(r.AuthHosts) == 0, field+".authHosts", why)
}

func (c *Config) checkServing(p *problems) {
	p.oneOf("certificates.mode", c.Certificates.Mode, SelfManaged, Mounted)
	p.check(isName(c.Certificates.Secret), "certificates.secret",
		"%q is not a valid name of a Secret", c.Certificates.Secret)
	service := c.Certificates.Service // a part of the DNS name
	p.check(len(content.IsDNS1123Label(service)) == 0, "certificates.service",
		"%q is not a valid name of a Service", service)
	// The endpoint may contain a secret, so the error does not quote it.
	endpoint := c.Observability.Tracing
	p.check(endpoint == "" || isEndpoint(endpoint), "observability.tracing",
		"want the URL of an OTLP endpoint over HTTP, "+
			"such as http://collector:4318, without user, query and fragment")
	address := c.Observability.Pprof
	p.check(address == "" || isLoopback(address), "observability.pprof",
		"%q: want a loopback address with a port, such as localhost:6060", address)
}

func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func isLoopback(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, errPort := strconv.ParseUint(port, 10, 16)
	if err != nil || errPort != nil || n == 0 {
		return false
	}
	ip, _ := netip.ParseAddr(host) // the zero Addr is not a loopback address
	return host == "localhost" || ip.IsLoopback()
}

// isCanonicalHost reports whether the host is spelled as in canonical references.
func isCanonicalHost(host string) bool {
	r, err := ref.Parse(host + "/a")
	return err == nil && r.Host() == host && r.Path() == "a" || host == "docker.io"
}
