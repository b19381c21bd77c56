// SPDX-License-Identifier: Apache-2.0

package containerd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/config/containerd"
)

// write writes files, by their paths, to a new folder.
func write(t *testing.T, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// translates checks the translation of a folder or file, in which DIR stands for the folder.
func translates(t *testing.T, folder, name, want string, notes ...string) {
	t.Helper()
	got, err := containerd.Read(filepath.Join(folder, name))
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if _, err := config.Parse(append([]byte("apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"), got.YAML...)); err != nil {
		t.Errorf("Parse: %v, want a valid config", err)
	}
	dir := func(s string) string { return strings.ReplaceAll(s, folder, "DIR") }
	if diff := cmp.Diff("registries:"+want, strings.TrimSuffix(dir(string(got.YAML)), "\n")); diff != "" {
		t.Errorf("YAML -want +got\n%s", diff)
	}
	if diff := cmp.Diff(strings.Join(notes, "\n"), dir(strings.Join(got.Notes, "\n"))); diff != "" {
		t.Errorf("notes -want +got\n%s", diff)
	}
}

// TestHosts checks the translation of one hosts.toml.
func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		name, folder, toml, want string
		notes                    []string
	}{
		{
			"mirrors in order, by capabilities", "docker.io", `
server = "https://registry-1.docker.io"
[host."https://z.internal"]
  capabilities = ["pull"]
[host."a.internal:5000"]
  capabilities = ["pull", "resolve", "push"]
[host."https://m.internal/"]
[host."https://push.internal"]
  capabilities = ["push", "resolve"]
`, `
  - host: docker.io
    mirrors:
      - host: z.internal
      - host: a.internal:5000
        resolve: true
      - host: m.internal
        resolve: true`,
			[]string{"docker.io/hosts.toml: https://push.internal: it is not for pulls; it is left out"},
		},
		{
			"paths", "r.example:5000", `
[host."https://a.internal/v2/hub"]
  override_path = true
[host."https://b.internal/hub"]
[host."https://c.internal/hub/v2/"]
[host."https://d.internal"]
  override_path = true
[host."https://e.internal/v2"]
`, `
  - host: r.example:5000
    mirrors:
      - host: a.internal/v2/hub
        overridePath: true
        resolve: true
      - host: b.internal/hub/v2
        overridePath: true
        resolve: true
      - host: c.internal/hub/v2
        overridePath: true
        resolve: true
      - host: d.internal
        overridePath: true
        resolve: true
      - host: e.internal
        resolve: true`, nil,
		},
		{
			"certificates and plain HTTP", "r.example_5000_", `
ca = "own.crt"
[host."https://a.internal"]
  ca = ["/etc/a.crt", "b.crt"]
  client = [["a.cert", "/etc/a.key"], ["b.cert", "b.key"]]
[host."https://b.internal"]
  client = "both.pem"
[host."https://c.internal"]
  client = [["both.pem", ""]]
[host."http://mirror"]
  ca = "x.crt"
`, `
  - host: r.example:5000
    mirrors:
      - host: a.internal
        resolve: true
      - host: b.internal
        resolve: true
      - host: c.internal
        resolve: true
      - host: mirror:80
        resolve: true
    caFile: DIR/r.example_5000_/own.crt
  - host: a.internal
    caFile: /etc/a.crt
    clientCertFile: DIR/r.example_5000_/a.cert
    clientKeyFile: /etc/a.key
  - host: b.internal
    clientCertFile: DIR/r.example_5000_/both.pem
    clientKeyFile: DIR/r.example_5000_/both.pem
  - host: c.internal
    clientCertFile: DIR/r.example_5000_/both.pem
    clientKeyFile: DIR/r.example_5000_/both.pem
  - host: mirror:80
    insecure: true`,
			[]string{
				"r.example_5000_/hosts.toml: https://a.internal: tagpin reads one file of CAs: put all of them into /etc/a.crt",
				"r.example_5000_/hosts.toml: https://a.internal: tagpin shows one client certificate, that of DIR/r.example_5000_/a.cert",
				"r.example_5000_/hosts.toml: http://mirror: it is asked over HTTP, so that its certificates are left out",
			},
		},
		{
			"what has no counterpart", "r.example", `
colour = "red"
[host."https://a.internal"]
  skip_verify = true
  dial_timeout = "1s"
  fast = true
  [host."https://a.internal".header]
    x-secret = "canary"
[host."ftp://b.internal"]
[host."httpb.internal"]
[host."https://a.internal/v2/"]
`, `
  - host: r.example
    mirrors:
      - host: a.internal
        resolve: true`,
			[]string{
				"r.example/hosts.toml: the key colour is unknown; it is left out",
				"r.example/hosts.toml: the key host.https://a.internal.fast is unknown; it is left out",
				"r.example/hosts.toml: https://a.internal: tagpin always verifies certificates, so that skip_verify is left out: set caFile to a file with the host's CA",
				"r.example/hosts.toml: https://a.internal: tagpin sends no header of the config; header is left out",
				"r.example/hosts.toml: https://a.internal: dial_timeout is left out; timeout is for the whole request",
				"r.example/hosts.toml: ftp://b.internal: it is not a registry host as in an image reference; it is left out",
				"r.example/hosts.toml: httpb.internal: it is not the address of a host; it is left out",
				"r.example/hosts.toml: https://a.internal/v2/: it is listed twice; it is left out",
			},
		},
		{
			"another server, and the registry itself first", "docker.io", `
server = "https://last.internal"
capabilities = ["pull"]
[host."https://index.docker.io"]
[host."https://a.internal"]
`, `
  - host: docker.io
    mirrors:
      - host: a.internal
        resolve: true
      - host: last.internal`,
			[]string{
				"docker.io/hosts.toml: https://a.internal: tagpin asks it before the registry itself, and not after",
				"docker.io/hosts.toml: https://last.internal: tagpin asks it before the registry itself, and not after",
			},
		},
		{
			"all registries", "_default", `
server = "https://last.internal"
[host."https://a.internal"]
`, `
  - host: '*'
    mirrors:
      - host: a.internal
        resolve: true
      - host: last.internal
        resolve: true`,
			[]string{"_default/hosts.toml: https://last.internal: tagpin asks it as the last mirror, and then the registry itself"},
		},
		{"a CA for all registries", "_default", `ca = "a.crt"`, " []", []string{"_default/hosts.toml: certificates and headers of all registries can't be translated; set caFile for each of them"}},
		{"plain HTTP", "r.example:5000", `server = "http://r.example:5000"`, `
  - host: r.example:5000
    insecure: true`, nil},
		{
			"rewrites of k3s", "docker.io", `
[host."https://a.internal"]
  capabilities = ["pull", "resolve"]
  [host."https://a.internal".rewrite]
    "^z/(.*)" = "b/$1"
    "^a/" = ""
`, `
  - host: docker.io
    mirrors:
      - host: a.internal
        resolve: true
        rewrites:
          - pattern: ^z/(.*)
            replacement: b/$1
          - pattern: ^a/
            replacement: ""`, nil,
		},
		{"no host of a reference", "registry", `server = "https://a.internal"`, " []", []string{"registry/hosts.toml: registry is not a registry host as in an image reference; it is left out"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			translates(t, write(t, map[string]string{tt.folder + "/hosts.toml": tt.toml}), "", tt.want, tt.notes...)
		})
	}
}

// TestFolder checks which folders count. A registry with a folder of its own has no mirrors of
// _default.
func TestFolder(t *testing.T) {
	folder := write(t, map[string]string{
		"_default/hosts.toml":      `[host."https://all.internal"]`,
		"a.internal_5000_/x":       "",
		"b.internal:5000/x":        "",
		"docker.io/hosts.toml":     `[host."http://m.internal"]`,
		"ghcr.io/hosts.toml":       `[host."https://m.internal"]`,
		"quay.io/hosts.toml":       `server = "https://quay.io"`,
		"r.example:5000/ca.crt":    "",
		"r.example_5000_/ca.crt":   "",
		"gcr.io/hosts.toml":        "[host.\"https://n.internal\"]\nca = \"/a\"",
		"k8s.gcr.io/hosts.toml":    "[host.\"https://n.internal\"]\nca = \"/b\"",
		"README":                   "",
		"private/README":           "",
		"registry.internal/.empty": "",
	})
	translates(t, folder, "", `
  - host: '*'
    mirrors:
      - host: all.internal
        resolve: true
  - host: docker.io
    mirrors:
      - host: m.internal
        resolve: true
  - host: m.internal
    insecure: true
  - host: gcr.io
    mirrors:
      - host: n.internal
        resolve: true
  - host: n.internal
    caFile: /a
  - host: ghcr.io
    mirrors:
      - host: m.internal
        resolve: true
  - host: k8s.gcr.io
    mirrors:
      - host: n.internal
        resolve: true
  - host: quay.io
    mirrors: []
  - host: a.internal:5000
    mirrors: []
  - host: b.internal:5000
    mirrors: []
  - host: r.example:5000
    mirrors: []
  - host: registry.internal
    mirrors: []`,
		"a.internal_5000_: it has no hosts.toml; set caFile for its certificates",
		"b.internal:5000: it has no hosts.toml; set caFile for its certificates",
		"ghcr.io/hosts.toml: https://m.internal: tagpin asks a host over HTTP or HTTPS, but not both; the first one counts",
		"k8s.gcr.io/hosts.toml: https://n.internal: another file has other certificates for this host; the first ones count",
		"private: it has no hosts.toml; set caFile for its certificates",
		"r.example:5000: containerd uses r.example_5000_ in its place; it is left out",
		"r.example_5000_: it has no hosts.toml; set caFile for its certificates",
		"registry.internal: it has no hosts.toml; set caFile for its certificates",
	)
}

// TestRegistries checks the translation of a registries.yaml.
func TestRegistries(t *testing.T) {
	folder := write(t, map[string]string{"registries.yaml": `
mirrors:
  docker.io:
    endpoint:
    - https://m.internal:5000
    - https://harbor.internal/v2/hub
    - http://localhost:5001/v2
    rewrite:
      ^rancher/(.*): project/$1
      ^a/: b/
  r.example:
    endpoint: ["https://r.example:443"]
    rewrite: {"^x/": "y/"}
  "*":
    endpoint: [127.0.0.1:5002]
    speed: fast
  empty.internal: {}
configs:
  m.internal:5000:
    auth: {username: u, password: canary}
    tls: {ca_file: /ca.crt, cert_file: /c.crt, key_file: /c.key}
  harbor.internal:
    tls: {insecure_skip_verify: true}
  own.internal:
    tls: {ca_file: /own.crt}
  login.internal:
    auth: {username: u, password: canary}
  registry-1.docker.io:
    auth: {username: u, password: canary}
  nothing.internal: {}
  "*":
    auth: {auth: canary}
    tls: {insecure_skip_verify: true}
auths:
  r.example: {password: canary}
`})
	translates(t, folder, "registries.yaml", `
  - host: docker.io
    mirrors:
      - host: m.internal:5000
        resolve: true
        rewrites:
          - pattern: ^rancher/(.*)
            replacement: project/$1
          - pattern: ^a/
            replacement: b/
      - host: harbor.internal/v2/hub
        overridePath: true
        resolve: true
        rewrites:
          - pattern: ^rancher/(.*)
            replacement: project/$1
          - pattern: ^a/
            replacement: b/
      - host: localhost:5001
        resolve: true
        rewrites:
          - pattern: ^rancher/(.*)
            replacement: project/$1
          - pattern: ^a/
            replacement: b/
  - host: m.internal:5000
    mirrors: []
    caFile: /ca.crt
    clientCertFile: /c.crt
    clientKeyFile: /c.key
  - host: localhost:5001
    insecure: true
  - host: r.example
    mirrors:
      - host: r.example:443
        resolve: true
        rewrites:
          - pattern: ^x/
            replacement: y/
  - host: '*'
    mirrors:
      - host: 127.0.0.1:5002
        resolve: true
  - host: 127.0.0.1:5002
    insecure: true
  - host: own.internal
    mirrors: []
    caFile: /own.crt
  - host: harbor.internal
    mirrors: []
  - host: login.internal
    mirrors: []`,
		"registries.yaml: line 16: field speed is unknown; it is left out",
		"registries.yaml: https://harbor.internal/v2/hub: tagpin always verifies certificates, so that insecure_skip_verify is left out: set caFile to a file with the host's CA",
		"registries.yaml: auth of m.internal:5000 is not copied: put credentials into pull secrets, or into the file of credentials.dockerConfig",
		"registries.yaml: auth of login.internal is not copied: put credentials into pull secrets, or into the file of credentials.dockerConfig",
		"registries.yaml: auth of registry-1.docker.io is not copied: put credentials into pull secrets, or into the file of credentials.dockerConfig",
		"registries.yaml: auth of * is not copied: put credentials into pull secrets, or into the file of credentials.dockerConfig",
		"registries.yaml: tls of all hosts can't be translated; set caFile for each of them",
		"registries.yaml: auths are not copied: put credentials into pull secrets, or into the file of credentials.dockerConfig",
	)
}

// TestRegistriesWithoutMirrors checks which registries keep the mirrors of all registries: those
// for which k3s writes no hosts.toml.
func TestRegistriesWithoutMirrors(t *testing.T) {
	const all = `
  - host: '*'
    mirrors:
      - host: all.internal
        resolve: true`
	for _, tt := range []struct{ name, mirrors, configs, want string }{
		{"nothing", "quay.io: {}", "", ""},
		{"itself", `quay.io: {endpoint: ["https://quay.io"]}`, "", ""},
		{"itself, by its path", "quay.io: {endpoint: [quay.io/v2]}", "quay.io: {}", ""},
		{"Docker Hub itself", `docker.io: {endpoint: ["https://registry-1.docker.io"]}`, "", ""},
		{"itself on the node", `"localhost:5000": {endpoint: ["http://localhost:5000"]}`, "", `
  - host: localhost:5000
    insecure: true`},
		{"itself with a CA", "quay.io: {endpoint: [quay.io]}", "quay.io: {tls: {ca_file: /ca}}", `
  - host: quay.io
    mirrors: []
    caFile: /ca`},
		{"itself with a login", "quay.io: {endpoint: [quay.io]}", "quay.io: {auth: {}}", `
  - host: quay.io
    mirrors: []`},
		{"itself with rewrites", "quay.io: {endpoint: [quay.io], rewrite: {^a: b}}", "", `
  - host: quay.io
    mirrors:
      - host: quay.io
        resolve: true
        rewrites:
          - pattern: ^a
            replacement: b`},
		{"itself by another name", `docker.io: {endpoint: ["https://index.docker.io"]}`, "", `
  - host: docker.io
    mirrors: []`},
		{"a config by another name", "docker.io: {}", "registry-1.docker.io: {tls: {}}", `
  - host: docker.io
    mirrors: []`},
		{"no mirror, and a config by another name", "", "registry-1.docker.io: {tls: {}}", ""},
		{"two configs", "docker.io: {}", "docker.io: {}\n  registry-1.docker.io: {tls: {}}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "mirrors:\n  \"*\": {endpoint: [all.internal]}\n  " + tt.mirrors + "\nconfigs:\n  " + tt.configs
			folder := write(t, map[string]string{"registries.yaml": text})
			translates(t, folder, "registries.yaml", all+tt.want)
		})
	}
}

// TestReadRefuses checks the errors of what is not there or malformed.
func TestReadRefuses(t *testing.T) {
	folder := write(t, map[string]string{
		"toml/docker.io/hosts.toml":    "server = \"https://a.b\"\n[host.\"https://a.b\"\n",
		"types/docker.io/hosts.toml":   "\ncapabilities = \"pull\"\n",
		"one/hosts.toml":               "",
		"invalid/docker.io/hosts.toml": `[host."https://a.internal/a%2fb"]` + "\n[host.\"https://a.internal/a%2fb\".rewrite]\n\"(\" = \"$1\"\n",
		"registries.yaml":              "mirrors: [\n",
		"list.yaml":                    "mirrors: [a]\n",
	})
	for name, want := range map[string]string{
		"nowhere":         "no such file or directory",
		"toml":            "DIR/toml/docker.io/hosts.toml:2: toml: ",
		"types":           "DIR/types/docker.io/hosts.toml:2: toml: ",
		"one":             "DIR/one has the hosts.toml of one registry: name the folder above it",
		"invalid":         "the translation is not valid: line 10: registries[0].mirrors[0].rewrites[0].pattern: error parsing regexp",
		"registries.yaml": "DIR/registries.yaml: neither a certs.d folder nor a registries.yaml: yaml: line ",
		"list.yaml":       "cannot unmarshal !!seq into map",
	} {
		got, err := containerd.Read(filepath.Join(folder, name))
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), folder, "DIR"), want) {
			t.Errorf("Read(%s) = %v, %v, want %q", name, got, err, want)
		}
	}
}

// TestReadme checks the examples in the page of the config file: each block is followed by its
// translation.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Mirrors as nodes have them\n")
	blocks := regexp.MustCompile("(?ms)^```[a-z]+\n(.*?)^```$").FindAllStringSubmatch(section, -1)
	if len(blocks) != 4 {
		t.Fatalf("%d blocks, want 4", len(blocks))
	}
	folder := write(t, map[string]string{
		"certs.d/docker.io/hosts.toml": blocks[0][1], "registries.yaml": blocks[2][1],
	})
	for name, want := range map[string]string{"certs.d": blocks[1][1], "registries.yaml": blocks[3][1]} {
		translates(t, folder, name, strings.TrimSuffix(strings.TrimPrefix(want, "registries:"), "\n"))
	}
}
