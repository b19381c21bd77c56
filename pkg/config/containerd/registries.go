// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/config"
)

// registriesFile is a registries.yaml of k3s (github.com/rancher/wharfie, pkg/registries).
type registriesFile struct {
	Mirrors map[string]struct {
		Endpoint []string          `yaml:"endpoint"`
		Rewrite  map[string]string `yaml:"rewrite"`
	} `yaml:"mirrors"`
	Configs map[string]hostConfig `yaml:"configs"`
	Auths   map[string]any        `yaml:"auths"`
}

// hostConfig says how a host is asked.
type hostConfig struct {
	Auth map[string]any `yaml:"auth"`
	TLS  struct {
		CAFile     string `yaml:"ca_file"`
		CertFile   string `yaml:"cert_file"`
		KeyFile    string `yaml:"key_file"`
		SkipVerify bool   `yaml:"insecure_skip_verify"`
	} `yaml:"tls"`
}

// readRegistries reads a registries.yaml.
func (b *builder) readRegistries(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	from := filepath.Base(path)
	var document yaml.Node
	var file registriesFile
	err = yaml.Unmarshal(data, &document)
	if err == nil {
		err = b.decode(from, data, &file)
	}
	if err != nil {
		return fmt.Errorf("%s: neither a certs.d folder nor a registries.yaml: %w", path, err)
	}
	mirrors, configs := child(&document, "mirrors"), child(&document, "configs")
	for _, host := range keys(mirrors) {
		var rewrites []config.Rewrite
		for _, pattern := range keys(child(mirrors, host, "rewrite")) {
			replacement := file.Mirrors[host].Rewrite[pattern]
			rewrites = append(rewrites, config.Rewrite{Pattern: pattern, Replacement: replacement})
		}
		var endpoints []endpoint
		for _, address := range file.Mirrors[host].Endpoint {
			endpoints = append(endpoints, k3sEndpoint(address, file.Configs, rewrites))
		}
		b.addMirrors(from, host, endpoints, hasConfig(configs, defaultConfig(file.Configs, host)))
	}
	for _, host := range keys(configs) {
		if hasConfig(configs, host) {
			b.has(host) // k3s writes a hosts.toml for it
		}
		b.addConfig(from, host, file.Configs[host])
	}
	if len(file.Auths) > 0 {
		b.note(from, "auths are not copied: "+elsewhere)
	}
	return nil
}

// addMirrors translates the endpoints of a registry. If they are at most the registry itself, k3s
// writes a hosts.toml only if it has something to say about the registry: a config or rewrites
// (pkg/agent/containerd, getHostConfigs). Without the file, nodes use the endpoints of all hosts.
func (b *builder) addMirrors(from, host string, endpoints []endpoint, hasConfig bool) {
	itself := len(endpoints) == 1 && isDefault(endpoints[0].address, host)
	switch {
	case len(endpoints) > 0 && (!itself || hasConfig || len(endpoints[0].rewrites) > 0):
		b.add(from, host, endpoints)
	case hasConfig:
		b.has(host)
	case itself && endpoints[0].parse() == "": // it may be asked over HTTP
		b.secure(from+": "+host, endpoints[0])
	}
}

// isDefault reports whether an address is that at which k3s has the registry itself.
func isDefault(address, host string) bool {
	u, err := k3sURL(address)
	own, ownErr := k3sURL(host)
	if err != nil || ownErr != nil {
		return false
	}
	for _, each := range []*url.URL{u, own} {
		if each.Host == hub {
			each.Host = hubAPI
		}
		if isDefaultPath(each.Path) {
			each.Path = ""
		}
	}
	return u.String() == own.String()
}

// isDefaultPath reports whether a path stands for that of a registry's API.
func isDefaultPath(path string) bool { return path == "" || path == "/" || path == "/v2" }

// defaultConfig returns the name of the config that k3s uses for a registry itself.
func defaultConfig(c map[string]hostConfig, host string) string {
	if _, ok := c[host]; ok {
		return host
	}
	return configOf(c, host)
}

// configOf returns the name of the config that k3s uses for an endpoint. For Docker Hub, that of
// its API comes first.
func configOf(c map[string]hostConfig, host string) string {
	if host != hub && host != hubAPI {
		return host
	}
	if _, ok := c[hubAPI]; ok {
		return hubAPI
	}
	return hub
}

// hasConfig reports whether the config of a host says something.
func hasConfig(configs *yaml.Node, host string) bool {
	return isSet(child(configs, host, "auth")) || isSet(child(configs, host, "tls"))
}

const elsewhere = "put credentials into pull secrets, or into the file of credentials.dockerConfig"

// decode decodes the file, and notes unknown fields.
func (b *builder) decode(from string, data []byte, file *registriesFile) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	mistakes := new(yaml.TypeError)
	err := decoder.Decode(file)
	if !errors.As(err, &mistakes) {
		return err
	}
	for _, text := range mistakes.Errors {
		field, _, unknown := strings.Cut(text, " not found in type ")
		if !unknown {
			return err
		}
		b.note(from, "%s is unknown; it is left out", field)
	}
	return nil
}

// k3sEndpoint returns an endpoint as k3s writes it into a hosts.toml (pkg/agent/containerd,
// normalizeEndpointAddress): a path other than /v2 is the whole path of the API.
func k3sEndpoint(address string, c map[string]hostConfig, rewrites []config.Rewrite) endpoint {
	e := endpoint{address: address, rewrites: rewrites}
	u, err := k3sURL(address)
	if err != nil {
		return e // parse says so
	}
	e.address, e.overridePath = u.String(), !isDefaultPath(u.Path)
	c[configOf(c, u.Host)].addTo(&e)
	return e
}

// k3sURL parses the address of an endpoint, or the name of a host.
func k3sURL(address string) (*url.URL, error) {
	text := address
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if text != address && isLoopback(u.Hostname()) && u.Port() != "" && u.Port() != "443" {
		u.Scheme = "http"
	}
	return u, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// addTo adds the TLS settings.
func (c hostConfig) addTo(e *endpoint) {
	e.ca, e.cert, e.key = c.TLS.CAFile, c.TLS.CertFile, cmp.Or(c.TLS.KeyFile, c.TLS.CertFile)
	if c.TLS.SkipVerify {
		e.skipsVerification("insecure_skip_verify")
	}
}

// addConfig translates the settings of a host.
func (b *builder) addConfig(from, host string, c hostConfig) {
	if len(c.Auth) > 0 {
		b.note(from, "auth of %s is not copied: %s", host, elsewhere)
	}
	e := endpoint{address: host}
	c.addTo(&e)
	problem := e.parse()
	_, done := b.plain[e.host] // it is also an endpoint
	switch {
	case done, e.ca == "" && e.cert == "" && len(e.left) == 0:
	case host == allHosts:
		b.note(from, "tls of all hosts can't be translated; set caFile for each of them")
	case problem != "":
		b.note(from, "%s: %s; it is left out", host, problem)
	default:
		for _, sentence := range e.left {
			b.note(from, "%s: %s", host, sentence)
		}
		b.secure(from+": "+host, e)
	}
}

// child returns the value at a path of mappings, or nil.
func child(n *yaml.Node, path ...string) *yaml.Node {
	if n != nil && n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	if len(path) == 0 || n == nil {
		return n
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Kind == yaml.MappingNode && n.Content[i].Value == path[0] {
			return child(n.Content[i+1], path[1:]...)
		}
	}
	return nil
}

// isSet reports whether a field has a value, which may be empty.
func isSet(n *yaml.Node) bool { return n != nil && n.Tag != "!!null" }

// keys returns the keys of a mapping in their order, which a decoded map does not have.
func keys(n *yaml.Node) (keys []string) {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}
