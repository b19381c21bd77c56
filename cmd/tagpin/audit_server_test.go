// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	runtimescheme "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/cluster"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain/local"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/registry"
)

// TestListen runs tagpin audit --listen, reads what it serves, and stops it.
func TestListen(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/pods") {
			_, _ = io.WriteString(w, `{"items":[{"metadata":{"name":"p","namespace":"ns"},"spec":{"containers":[{"name":"c","image":"!invalid"},{"name":"d","image":"unnamed.invalid/app:1"}]}},
				{"metadata":{"name":"q","namespace":"other","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"r","controller":true}]},"spec":{"containers":[{"name":"c","image":"!invalid"}]}}]}`)
		}
		if strings.HasSuffix(r.URL.Path, "/replicasets") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		}
	}))
	defer api.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","users":[{"name":"u","user":{}}],
		"clusters":[{"name":"blue","cluster":{"server":"` + api.URL + `"}}],"contexts":[{"name":"c","context":{"cluster":"blue","user":"u"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what the command has set for the process
		log.SetOutput(io.Discard)
		klog.SetOutput(io.Discard)
		debug.SetMemoryLimit(math.MaxInt64)
	})
	ctx, stop := context.WithCancel(t.Context())
	logs, write := io.Pipe()
	exit := make(chan int, 1)
	args := []string{"tagpin", "audit", "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0"}
	go func() {
		exit <- run(ctx, args, nil, io.Discard, write)
		_ = write.Close()
	}()
	address, causes, problem, audited := "", "", "", make(chan bool)
	lines := bufio.NewScanner(logs)
	for address == "" && lines.Scan() {
		var line struct{ Level, TS, Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Level != "info" || line.TS == "" {
			t.Fatalf("%q (%v), want a line as the webhook writes it", lines.Text(), err)
		}
		address = line.Address
	}
	go func() {
		for lines.Scan() {
			if strings.Contains(lines.Text(), "lookup failed") {
				t.Errorf("%s: a message of the webhook", lines.Text())
			}
			if strings.Contains(lines.Text(), `"msg":"a running image could not be checked"`) {
				causes = lines.Text()
			}
			if strings.Contains(lines.Text(), `"msg":"a part of the cluster could not be read"`) {
				problem = lines.Text()
			}
			if strings.Contains(lines.Text(), `"msg":"audited"`) {
				close(audited)
			}
		}
	}()
	select {
	case <-audited:
	case <-time.After(time.Minute):
		t.Fatal("no audit within a minute")
	}
	if !strings.Contains(causes, `"kind":"Pod","name":"p"`) || !strings.Contains(causes, `"cause":"unnamed.invalid: `) ||
		strings.Contains(causes, `"cause":"unnamed.invalid: unreachable"`) {
		t.Errorf("log of a failed lookup %q, want its cause", causes)
	}
	if !strings.Contains(problem, "kubectl create clusterrole") {
		t.Errorf("log of a problem %q, want what to do about it", problem)
	}
	for path, want := range map[string]string{
		"/": "listing replicasets.apps in all namespaces failed; the log says why", "/report.json": `"the tag: unnamed.invalid: unreachable"`, "/healthz": "ok",
		"/metrics": `tagpin_audit_containers{state="unknown",workload_namespace="ns"} 2`,
	} {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %s, %v, %.300s, want %s in it", path, response.Status, err, body, want)
		}
		if text := string(body); strings.Contains(text, "kubectl") || strings.Contains(text, api.URL) {
			t.Errorf("GET %s: %.300s, want nothing that is for the operator alone", path, text)
		}
		if csp := response.Header.Get("Content-Security-Policy"); path == "/" && !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("Content-Security-Policy of the page = %q", csp)
		}
	}
	stop()
	if code := <-exit; code != exitOK {
		t.Errorf("exit code %d after it was stopped, want 0", code)
	}
}

// TestWithoutCompression checks that a client that does not know gzip gets a report.
func TestWithoutCompression(t *testing.T) {
	s := &auditServer{}
	if err := s.set(&audit.Report{Cluster: "blue"}); err != nil {
		t.Fatal(err)
	}
	handler := s.handler(prometheus.NewRegistry())
	for _, encoding := range []string{"", "gzip, deflate, br"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/report.json", nil)
		r.Header.Set("Accept-Encoding", encoding)
		handler.ServeHTTP(w, r)
		plain := strings.Contains(w.Body.String(), `"cluster": "blue"`)
		if compressed := w.Header().Get("Content-Encoding") == "gzip"; plain == compressed || compressed == (encoding == "") {
			t.Errorf("Accept-Encoding %q: plain %t, compressed %t, %q", encoding, plain, compressed, w.Header())
		}
	}
}

// TestFormerReport checks that little of a report is kept while the next one is made.
func TestFormerReport(t *testing.T) {
	s, metrics := &auditServer{}, audit.NewMetrics(prometheus.NewRegistry(), time.Hour)
	before := heap()
	all := reportLarge(t, s, metrics) - before
	if kept := heap() - before; kept > 1<<20 || all < 10<<20 {
		t.Errorf("%d KiB are kept of %d KiB, want at most 1 MiB of more than 10", kept>>10, all>>10)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(metrics)
}

// reportLarge makes a large report the former one, and returns the bytes in use at that time.
func reportLarge(t *testing.T, s *auditServer, metrics *audit.Metrics) int64 {
	t.Helper()
	report := &audit.Report{}
	for i := range 10_000 {
		image := fmt.Sprintf("registry.example/%s/%d:1", strings.Repeat("x", 200), i)
		report.Containers = append(report.Containers, audit.Finding{
			Namespace: "ns", Workload: audit.Workload{Kind: "Pod", Name: fmt.Sprint("p-", i)}, Count: 1,
			Image: image, States: []audit.State{audit.Gone}, Details: []string{"no longer has " + image},
			Causes: []string{"no longer has " + image},
		})
	}
	if err := s.set(report); err != nil {
		t.Fatal(err)
	}
	metrics.Finished(report, time.Now())
	used := heap()
	runtime.KeepAlive(report)
	return used
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMaxBytes checks that a report gets a part of the memory of a container, and no bound
// elsewhere.
func TestMaxBytes(t *testing.T) {
	before := debug.SetMemoryLimit(128 << 20)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	if got := (&auditing{listen: ":0"}).maxBytes(); got != 64<<20 {
		t.Errorf("maxBytes = %d with a limit of 128 MiB, want half of it", got)
	}
	if got := (&auditing{}).maxBytes(); got != 0 {
		t.Errorf("maxBytes = %d without --listen, want no bound", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got := (&auditing{listen: ":0"}).maxBytes(); got != 0 {
		t.Errorf("maxBytes = %d without a limit, want no bound", got)
	}
}

// TestBeforeFirstReport checks what is served before there is a report.
func TestBeforeFirstReport(t *testing.T) {
	w := httptest.NewRecorder()
	(&auditServer{}).handler(prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("GET / = %d, %v, want 503 with Retry-After", w.Code, w.Header())
	}
}

// TestAfterFailure checks that a failed audit is repeated before the interval is over, that what is
// served until then says so, and that a report stays if a later audit fails.
func TestAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		a := emptyCluster(t, &down)
		a.interval = 24 * time.Hour
		s := &auditServer{}
		handler := s.handler(prometheus.NewRegistry())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.repeat(ctx, s, audit.NewMetrics(prometheus.NewRegistry(), a.interval), logr.Discard())
		}()
		check := func(when string, status int, text string) {
			t.Helper()
			synctest.Wait()
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/report.json", nil))
			retry := w.Header().Get("Retry-After")
			if w.Code != status || !strings.Contains(w.Body.String(), text) ||
				(retry == "") != (status == http.StatusOK) {
				t.Errorf("%s: %d, %q, Retry-After %q, want %d, %q", when, w.Code, w.Body, retry, status, text)
			}
		}
		const failed = "the last audit failed, and the log says why; the next one begins at 2000-"
		check("after a failure", http.StatusServiceUnavailable, failed)
		time.Sleep(5 * time.Minute)
		check("after several failures", http.StatusServiceUnavailable, failed)
		down.Store(false)
		time.Sleep(2 * lastRetry)
		check("after a success", http.StatusOK, `"pods": 0`)
		down.Store(true)
		time.Sleep(2 * a.interval)
		check("after a later failure", http.StatusOK, `"pods": 0`)
		stop()
		<-done
	})
}

// emptyCluster returns an audit of a cluster without pods. While down is true, connections to its
// API server are lost.
func emptyCluster(t *testing.T, down *atomic.Bool) *auditing {
	t.Helper()
	codecs := serializer.NewCodecFactory(runtimescheme.NewScheme())
	client, err := rest.RESTClientForConfigAndClient(&rest.Config{
		Host: "http://api.example", APIPath: "/api", QPS: -1,
		ContentConfig: rest.ContentConfig{
			GroupVersion:         &schema.GroupVersion{Version: "v1"},
			NegotiatedSerializer: codecs.WithoutConversion(),
		},
	}, &http.Client{Transport: apiServer(func(r *http.Request) (*http.Response, error) {
		if down.Load() {
			return nil, errors.New("connection lost")
		}
		return &http.Response{
			StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(`{"items":[]}`)),
		}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return &auditing{
		engine: &engine{
			config: &config.Config{}, keychain: &local.Keychain{}, panics: &panics.Reporter{},
			client: &registry.Client{}, patience: &patience{}, pinner: &pin.Pinner{},
		},
		server: cluster.Server{Client: client}, listen: ":0",
		report: func(err error) { t.Error(err) },
	}
}

// apiServer is a connection to an API server that does not use the network.
type apiServer func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (s apiServer) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

// TestLargeSecret checks that a pull secret is read that is larger than those that need no room.
func TestLargeSecret(t *testing.T) {
	const size = 1 << 20
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"type":%q}`, strings.Repeat("x", size))
	}))
	defer api.Close()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"current-context":"c","clusters":[{"name":"blue","cluster":{"server":"` + api.URL +
		`"}}],"contexts":[{"name":"c","context":{"cluster":"blue"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := cluster.Connection{Kubeconfig: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	var secret struct{ Type string }
	err = readSecrets(opened.Client)(t.Context(), "ns", "secrets", "large", &secret)
	if err != nil || len(secret.Type) != size {
		t.Errorf("a secret of %d bytes: read %d, %v", size, len(secret.Type), err)
	}
}
