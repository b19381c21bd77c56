// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/failure"
)

// problems collects the mistakes in a config, each with the path of its field.
type problems struct {
	root *yaml.Node // the file, which says on which line a field is; nil for a config without one
	errs []error
}

// index returns the path of an element of a list.
func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// add adds an error, or each one of several joined errors. A nil error is ignored.
func (p *problems) add(field string, err error) {
	if line := lineOf(p.root, field); err != nil && line > 0 {
		field = fmt.Sprintf("line %d: %s", line, field)
	}
	for _, e := range failure.Split(err) {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", field, e))
	}
}

// step matches a step of a field's path: a key, or the index of an element.
var step = regexp.MustCompile(`[^.[\]]+`)

// lineOf returns the line of the field with the path field. If the file does not have the field, it
// is the line of the innermost object around it, or 0 if that is the whole file.
func lineOf(root *yaml.Node, field string) int {
	if root == nil || len(root.Content) == 0 {
		return 0
	}
	n, line := root.Content[0], 0
	for _, name := range step.FindAllString(field, -1) {
		at, value := child(n, name)
		if value == nil {
			break
		}
		n, line = value, at
	}
	return line
}

// child returns the value of a field of an object, or an element of a list, and its line. It is nil
// if n has no such field or element.
func child(n *yaml.Node, name string) (line int, value *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode {
		i, err := strconv.Atoi(name)
		if err != nil || i >= len(n.Content) {
			return 0, nil
		}
		return n.Content[i].Line, n.Content[i]
	}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i].Line, n.Content[i+1]
		}
	}
	return 0, nil
}

// check adds an error unless ok.
func (p *problems) check(ok bool, field, format string, args ...any) {
	if !ok {
		p.add(field, fmt.Errorf(format, args...))
	}
}

func (p *problems) oneOf(field, value string, allowed ...string) {
	p.check(slices.Contains(allowed, value), field,
		"%q: want %s", value, strings.Join(allowed, " or "))
}

func (p *problems) within(field string, value, most int) {
	p.check(value >= 1 && value <= most, field, "%d: want 1 to %d", value, most)
}

func (p *problems) positive(field string, d Duration) {
	p.check(d > 0, field, "%v: want more than 0s", d)
}

func (p *problems) absolute(field, path string) {
	p.check(path == "" || filepath.IsAbs(path), field, "%q: want an absolute path", path)
}

func (p *problems) host(field, host string) {
	p.check(isCanonicalHost(host), field, "%q is not a registry host as in a canonical reference, "+
		"such as docker.io or registry.internal:5000", host)
}

// cidrs parses the elements of a list.
func (p *problems) cidrs(field string, list []string) (parsed []netip.Prefix) {
	for i, s := range list {
		prefix, err := netip.ParsePrefix(s)
		p.check(err == nil, index(field, i),
			"%q is not a CIDR, such as 10.0.0.0/8 or 127.0.0.1/32", s)
		p.check(!prefix.Addr().Is4In6(), index(field, i), // addresses are compared as IPv4
			"%q is in the form of IPv6; write it as IPv4, such as 10.0.0.0/8", s)
		p.check(prefix == prefix.Masked(), index(field, i),
			"%q has bits beyond its length: want %s", s, prefix.Masked())
		parsed = append(parsed, prefix)
	}
	return parsed
}
