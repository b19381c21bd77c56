// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagpin/tagpin/hack/standalone"
)

// live is a tagpin-webhook that runs without an API server, with a registry that can fail.
type live struct {
	t       *testing.T
	client  *http.Client
	webhook string // host:port
	metrics string // URL
	image   string // host:port/app of the registry
	private string // host:port/app of a registry that wants a login
	down    atomic.Bool
	reviews int
}

const liveConfig = `apiVersion: tagpin.dev/v1alpha1
kind: Config
network: {allow: [127.0.0.1/32]}
cache: {ttl: 200ms, negativeTTL: 10ms}
registries:
- {host: %q, insecure: true}
- {host: %q, insecure: true}
observability: {tracing: "http://%s"}
`

// newLive builds and starts a server.
func newLive(t *testing.T) *live {
	t.Helper()
	l := &live{t: t}
	l.image = l.serve(l.registry) + "/app"
	l.private = l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}) + "/app"
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/tagpin-webhook")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, output)
	}
	_, config, err := standalone.Certificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	l.client = &http.Client{Transport: transport}
	l.start(dir)
	return l
}

func (l *live) serve(answer http.HandlerFunc) (address string) {
	server := httptest.NewServer(answer)
	l.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// registry answers for every tag but "missing".
func (l *live) registry(w http.ResponseWriter, r *http.Request) {
	_, tag, _ := strings.Cut(r.URL.Path, "/manifests/")
	switch {
	case l.down.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	case tag == "missing":
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(tag))))
		w.Header().Set("RateLimit-Remaining", "76;w=21600")
	}
}

func (l *live) start(dir string) {
	l.t.Helper()
	var addresses [3]string
	for i := range addresses {
		var err error
		if addresses[i], err = standalone.FreeAddress(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(addresses[0])
	l.webhook, l.metrics = addresses[0], "http://"+addresses[1]+"/metrics"
	config := filepath.Join(dir, "config.yaml")
	collector := l.serve(func(http.ResponseWriter, *http.Request) {})
	text := fmt.Sprintf(liveConfig, strings.TrimSuffix(l.image, "/app"),
		strings.TrimSuffix(l.private, "/app"), collector)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.t.Setenv("GOMEMLIMIT", "166MiB") // as in a container with the limit of the chart
	l.t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	server, err := standalone.Start(l.t.Context(), l.client, l.webhook, filepath.Join(dir, "log"),
		filepath.Join(dir, "tagpin-webhook"), "--standalone", "--config", config, "--cert-dir", dir,
		"--webhook-host", host, "--webhook-port", port, "--metrics-bind-address", addresses[1],
		"--health-probe-bind-address", addresses[2])
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(server.Stop)
}

// send sends the creation of an object with an image. A pod has a controller, and so its image
// may be taken from the cache.
func (l *live) send(path, kind, image string) {
	l.t.Helper()
	l.reviews++
	spec, owner := fmt.Sprintf(`{"containers":[{"name":"app","image":%q}]}`, image), ""
	group, resource := "", "pods"
	switch kind {
	case "Deployment":
		group, resource = "apps", "deployments"
		spec = `{"template":{"spec":` + spec + `}}`
	case "Pod":
		owner = `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","uid":"1","controller":true}]`
	}
	l.post(path, fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":
		{"uid":"%d","operation":"CREATE","namespace":"shop","kind":{"group":%q,"version":"v1","kind":%q},
		"resource":{"group":%q,"version":"v1","resource":%q},"userInfo":{"username":"someone"},
		"object":{"apiVersion":%q,"kind":%q,"metadata":{"name":"web"%s},"spec":%s}}}`,
		l.reviews, group, kind, group, resource,
		strings.TrimPrefix(group+"/v1", "/"), kind, owner, spec))
}

func (l *live) post(path, body string) {
	l.t.Helper()
	url := "https://" + l.webhook + path + "?timeout=10s"
	request, err := http.NewRequestWithContext(
		l.t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

// load sends what a busy cluster sends in one scrape interval.
func (l *live) load(i int) {
	l.t.Helper()
	for n := range 3 {
		fresh := fmt.Sprintf("%s:%d-%d", l.image, i, n)
		l.send("/enforce", "Deployment", fresh)
		l.send("/enforce", "Pod", l.image+":old")
		l.send("/dry-run", "Deployment", fresh)
	}
	l.send("/keep", "Deployment", l.image+":old")
	l.send("/enforce", "Deployment", l.image+":missing")
	l.send("/enforce", "Deployment", l.private+":1")
	l.send("/enforce", "Deployment", "127.0.0.1:1/app:1")
	l.post("/enforce", "this is no review")
}

// fail makes the registry fail, and waits until a cached digest is too old to be used otherwise.
func (l *live) fail() {
	l.t.Helper()
	l.down.Store(true)
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(l.page(), `source="stale"`) {
		if time.Now().After(deadline) {
			l.t.Fatal("no old digest is used")
		}
		l.send("/enforce", "Pod", l.image+":old")
	}
}

// page returns the metrics as text.
func (l *live) page() string {
	l.t.Helper()
	response, err := http.Get(l.metrics)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}
