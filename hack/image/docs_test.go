// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// shellBlock matches a block of shell commands in Markdown.
var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// testDocs runs all commands in deploy/docs/images.md as one script. The registry is a private one
// with TLS, and the repository is r. The image must have the given digest.
func testDocs(t *testing.T, r repository, digest string) {
	script := "set -eux -o pipefail\n"
	for _, block := range shellBlock.FindAllStringSubmatch(read(t, "deploy/docs/images.md"), -1) {
		script += block[1]
	}
	s := newPrivateRegistry(t)
	amd64 := []v1.Platform{{OS: "linux", Architecture: "amd64"}}
	base := pushBase(t, s.host+"/static:1", amd64, s.options()...)
	script = strings.NewReplacer("registry.example.com/static@sha256:BASE", base,
		"registry.example.com", s.host).Replace(script)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = dir
	// make may run this test, so remove its variables, which a user does not have.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "VERSION=") ||
			strings.HasPrefix(v, "IMAGE_FLAGS=")
	})
	cmd.Env = append(env, "DOCKER_CONFIG="+s.dockerConfig, "SSL_CERT_FILE="+s.roots,
		"PATH="+buildOras(t)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+r.dir+".insteadOf",
		"GIT_CONFIG_VALUE_0="+repositoryURL)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if want := "+ test " + digest + " = " + digest; !strings.Contains(string(out), want) {
		t.Errorf("the output does not contain %q:\n%s", want, out)
	}
	sbom, err := os.ReadFile(filepath.Join(dir, "tagpin", "tagpin-webhook.linux-amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	testSchema(t, sbom)
}

// buildOras builds oras and returns its folder.
func buildOras(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const oras = "oras.land/oras/cmd/oras"
	build := exec.CommandContext(t.Context(), "go", "-C", here, "build", "-o", dir, oras)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// privateRegistry is a registry with TLS that requires a password.
type privateRegistry struct {
	host         string
	transport    http.RoundTripper // trusts the registry's certificate
	roots        string            // file with CA certificates, including the registry's
	dockerConfig string            // folder of a Docker config with the password
}

const password = "open sesame"

func newPrivateRegistry(t *testing.T) privateRegistry {
	t.Helper()
	images := registry.New(registry.WithReferrersSupport(true),
		registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, given, _ := req.BasicAuth(); given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "the password is missing", http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	p := privateRegistry{
		host: s.Listener.Addr().String(), roots: filepath.Join(dir, "roots.pem"), dockerConfig: dir,
		transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		},
	}
	// The public CA certificates are needed too, because go may have to download modules.
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	auth := base64.StdEncoding.EncodeToString([]byte("user:" + password))
	for file, content := range map[string]string{
		p.roots:                           string(roots()) + string(own),
		filepath.Join(dir, "config.json"): fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, p.host, auth),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// options returns the options with which this process can push to the registry.
func (p privateRegistry) options() []remote.Option {
	return []remote.Option{
		remote.WithTransport(p.transport),
		remote.WithAuth(&authn.Basic{Username: "user", Password: password}),
	}
}
