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

var command = regexp.MustCompile("(?s)```sh\n(.*?)```")

// testDocs runs all commands of deploy/docs/images.md as one session, with a registry that asks for a password, over TLS.
func testDocs(t *testing.T, r repository, digest string) {
	session := "set -eux -o pipefail\n"
	for _, block := range command.FindAllStringSubmatch(read(t, "deploy/docs/images.md"), -1) {
		session += block[1]
	}
	s := newPrivateRegistry(t)
	base := pushBase(t, s.host+"/static:1", []v1.Platform{{OS: "linux", Architecture: "amd64"}}, s.options()...)
	session = strings.NewReplacer("registry.example.com/static@sha256:BASE", base, "registry.example.com", s.host).Replace(session)
	dir := t.TempDir()
	programs := buildOras(t)
	cmd := exec.CommandContext(t.Context(), "bash", "-c", session)
	cmd.Dir = dir
	// As a person has it, though it be make that runs this.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "VERSION=") || strings.HasPrefix(v, "IMAGE_FLAGS=")
	})
	cmd.Env = append(own, "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "DOCKER_CONFIG="+s.dockerConfig,
		"SSL_CERT_FILE="+s.roots,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+r.dir+".insteadOf", "GIT_CONFIG_VALUE_0="+repositoryURL)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if want := "+ test " + digest + " = " + digest; !strings.Contains(string(out), want) {
		t.Errorf("there is no %q in:\n%s", want, out)
	}
	sbom, err := os.ReadFile(filepath.Join(dir, "tagpin", "tagpin-webhook.linux-amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	testSchema(t, sbom)
}

func buildOras(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "-C", here, "build", "-o", dir, "oras.land/oras/cmd/oras")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// privateRegistry is a registry that asks for a password.
type privateRegistry struct {
	host                string
	transport           http.RoundTripper
	roots, dockerConfig string // a file, and a folder
}

const password = "open sesame"

func newPrivateRegistry(t *testing.T) privateRegistry {
	t.Helper()
	images := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, given, _ := req.BasicAuth(); given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
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
		transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	}
	// Public ones too: go may have to download modules.
	certificates := append(roots(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})...)
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, p.host, base64.StdEncoding.EncodeToString([]byte("user:"+password)))
	for file, content := range map[string]string{p.roots: string(certificates), filepath.Join(dir, "config.json"): config} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p privateRegistry) options() []remote.Option {
	return []remote.Option{remote.WithTransport(p.transport), remote.WithAuth(&authn.Basic{Username: "user", Password: password})}
}
