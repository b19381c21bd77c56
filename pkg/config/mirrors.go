// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// apiPath matches a path of names that mean themselves in a URL. A name begins with a letter, a
// digit or an underscore.
var apiPath = regexp.MustCompile(`^\w[-\w.~+@:]*(/\w[-\w.~+@:]*)*$`)

// groupName matches a group in a replacement as regexp.Regexp.Expand does, and $$, which is a
// dollar sign.
var groupName = regexp.MustCompile(`\$\$|\$(\w+)|\$\{(\w+)\}`)

// mirrors checks the mirrors of a registry. The registry itself may be one at another path.
func (p *problems) mirrors(field string, r Registry) {
	for i, m := range r.Mirrors {
		at := index(field, i)
		host, path, hasPath := strings.Cut(m.Host, "/")
		p.host(at+".host", host)
		switch {
		case m.OverridePath:
			p.check(!hasPath || apiPath.MatchString(path), at+".host",
				"%q is not a path of an API, such as api/docker/remote/v2", path)
		case hasPath && isCanonicalHost(host):
			p.check(isRepositoryPath(host, path), at+".host", "%q is not a path of repositories", path)
		}
		there := registry.Host{Name: m.Host, Insecure: r.Insecure}
		itself := there.Same(r.identity()) && !m.OverridePath && len(m.Rewrites) == 0
		p.check(!itself, at+".host", "%q is the registry itself", m.Host)
		sameHost := func(before Mirror) bool { return before.Host == m.Host }
		p.check(itself || !slices.ContainsFunc(r.Mirrors[:i], sameHost), at+".host",
			"%q is listed twice", m.Host)
		for j, rewrite := range m.Rewrites {
			_ = rewrite.parse(p, index(at+".rewrites", j))
		}
	}
}

// isRepositoryPath reports whether a path, without tag and digest, may follow a host in a
// reference.
func isRepositoryPath(host, path string) bool {
	_, err := ref.Parse(host + "/" + path)
	return err == nil && !strings.ContainsAny(path, ":@")
}

// convert returns the settings of package registry. The config must be valid.
func (m Mirror) convert() registry.Mirror {
	mirror := registry.Mirror{Host: m.Host, OverridePath: m.OverridePath, Resolve: m.Resolve}
	for _, r := range m.Rewrites {
		mirror.Rewrites = append(mirror.Rewrites, r.parse(&problems{}, ""))
	}
	return mirror
}

// parse parses the pattern, and adds the mistakes of the rewrite at a field to p.
func (r Rewrite) parse(p *problems, field string) registry.Rewrite {
	pattern, err := regexp.Compile(r.Pattern)
	p.add(field+".pattern", err)
	p.check(r.Pattern != "", field+".pattern", "want a regular expression, such as ^library/(.*)")
	if err != nil {
		return registry.Rewrite{}
	}
	for _, match := range groupName.FindAllStringSubmatch(r.Replacement, -1) {
		name := match[1] + match[2]
		number, err := strconv.Atoi(name)
		known := err == nil && number <= pattern.NumSubexp() || pattern.SubexpIndex(name) >= 0
		p.check(known || match[0] == "$$", field+".replacement",
			"the pattern has no group %q; before a letter, a digit or _, write ${1} and not $1", name)
	}
	return registry.Rewrite{Pattern: pattern, Replacement: r.Replacement}
}
