// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/tagpin/tagpin/pkg/config"
)

// hostsFile is a hosts.toml.
type hostsFile struct {
	hostFields

	Server string                `toml:"server"`
	Host   map[string]hostFields `toml:"host"`
}

// hostFields are the fields of a host. Those at the top of the file are for the server.
type hostFields struct {
	Capabilities []string          `toml:"capabilities"`
	CA           any               `toml:"ca"`     // a file, or a list of files
	Client       any               `toml:"client"` // a file, or a list of files or pairs of files
	SkipVerify   bool              `toml:"skip_verify"`
	Header       map[string]any    `toml:"header"`
	OverridePath bool              `toml:"override_path"`
	DialTimeout  string            `toml:"dial_timeout"`
	Rewrite      map[string]string `toml:"rewrite"` // k3s has it
}

// parseHosts parses a hosts.toml, and notes unknown keys.
func (b *builder) parseHosts(from, path string, data []byte) (file hostsFile, err error) {
	err = toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&file)
	unknown, malformed := new(toml.StrictMissingError), new(toml.DecodeError)
	switch {
	case errors.As(err, &unknown):
		for _, e := range unknown.Errors {
			b.note(from, "the key %s is unknown; it is left out", strings.Join(e.Key(), "."))
		}
	case errors.As(err, &malformed):
		line, _ := malformed.Position()
		return file, fmt.Errorf("%s:%d: %w", path, line, malformed)
	case err != nil:
		return file, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// endpoints returns whom containerd asks for a registry's images, in order.
func (b *builder) endpoints(
	from, folder, host string, data []byte, file hostsFile,
) (endpoints []endpoint) {
	for _, address := range hostsInOrder(data) {
		fields := file.Host[address]
		e := fields.endpoint(folder)
		e.address, e.rewrites = address, rewrites(data, address, fields.Rewrite)
		endpoints = append(endpoints, e)
	}
	server := file.endpoint(folder)
	server.server = true
	if file.Server == "" { // then it is the registry itself
		server.capabilities, server.overridePath = nil, false
	}
	if server.address = cmp.Or(file.Server, host); server.address != allHosts {
		return append(endpoints, server)
	}
	if server.ca != "" || server.cert != "" || len(server.left) > 0 {
		b.note(from, "certificates and headers of all registries can't be translated; set caFile "+
			"for each of them")
	}
	return endpoints
}

// endpoint returns the fields as an endpoint without an address. Files are relative to the folder.
func (f *hostFields) endpoint(folder string) endpoint {
	e := endpoint{overridePath: f.OverridePath, capabilities: f.Capabilities}
	var pairs [][2]string
	for _, client := range list(f.Client) {
		both := files(client, folder)
		if len(both) == 0 {
			continue
		}
		pair := [2]string{both[0], both[0]}
		if len(both) > 1 && both[1] != folder { // "" stands for the same file
			pair[1] = both[1]
		}
		pairs = append(pairs, pair)
	}
	e.certificates(files(f.CA, folder), pairs)
	if f.SkipVerify {
		e.skipsVerification("skip_verify")
	}
	if len(f.Header) > 0 {
		e.left = append(e.left, "tagpin sends no header of the config; header is left out")
	}
	if f.DialTimeout != "" {
		e.left = append(e.left, "dial_timeout is left out; timeout is for the whole request")
	}
	return e
}

// list returns a list, or the list of a single value.
func list(value any) []any {
	if value == nil {
		return nil
	}
	if several, ok := value.([]any); ok {
		return several
	}
	return []any{value}
}

// files returns the absolute paths of a file or of a list of files.
func files(value any, folder string) (paths []string) {
	for _, one := range list(value) {
		path, ok := one.(string)
		switch {
		case !ok:
		case filepath.IsAbs(path):
			paths = append(paths, path)
		default:
			paths = append(paths, filepath.Join(folder, path))
		}
	}
	return paths
}

// hostsInOrder returns the hosts that have a table. containerd reads the order in the same way,
// since a decoded map has none.
func hostsInOrder(data []byte) (hosts []string) {
	walk(data, func(table, _ []string) {
		if len(table) > 1 && table[0] == "host" && !slices.Contains(hosts, table[1]) {
			hosts = append(hosts, table[1])
		}
	})
	return hosts
}

// rewrites returns the rewrites of a host in their order.
func rewrites(data []byte, host string, replacements map[string]string) (found []config.Rewrite) {
	walk(data, func(table, key []string) {
		if len(key) == 1 && slices.Equal(table, []string{"host", host, "rewrite"}) {
			found = append(found, config.Rewrite{Pattern: key[0], Replacement: replacements[key[0]]})
		}
	})
	return found
}

// walk calls visit with each table of a valid TOML document, and with each key in a table.
func walk(data []byte, visit func(table, key []string)) {
	var p unstable.Parser
	p.Reset(data)
	var table []string
	for p.NextExpression() {
		var key []string
		for k := p.Expression().Key(); k.Next(); {
			key = append(key, string(k.Node().Data))
		}
		switch p.Expression().Kind {
		case unstable.Table:
			table = key
			visit(table, nil)
		case unstable.KeyValue:
			visit(table, key)
		}
	}
}
