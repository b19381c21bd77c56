// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/workload"
)

// apiServer is an API server that records its requests.
type apiServer struct {
	mu       sync.Mutex
	requests []string
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
	}
	switch r.URL.Path {
	case "/api/v1/namespaces/ns/serviceaccounts/app":
		fmt.Fprint(w, `{"kind":"ServiceAccount","apiVersion":"v1","imagePullSecrets":[{"name":"mine"},{},{"name":"gone"},{"name":"closed"},{"name":"broken"}]}`)
	case "/api/v1/namespaces/ns/secrets/mine":
		fmt.Fprint(w, `{"kind":"Secret","apiVersion":"v1","type":"kubernetes.io/dockercfg","data":{".dockercfg":"eyJnaGNyLmlvIjp7ImF1dGgiOiJkVHB3In19"}}`)
	case "/api/v1/namespaces/ns/secrets/closed":
		status(http.StatusForbidden, "Forbidden")
	case "/api/v1/namespaces/ns/secrets/broken":
		status(http.StatusInternalServerError, "InternalError")
	default:
		status(http.StatusNotFound, "NotFound")
	}
}

func serve(t *testing.T, s *apiServer) cluster.Get {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return cluster.FromClient(client.CoreV1().RESTClient(), cluster.Places(), &fair.Queue{})
}

// TestFromClient checks that only get requests are sent, and how the answers of an API server are
// counted.
func TestFromClient(t *testing.T) {
	s := &apiServer{}
	registry := prometheus.NewRegistry()
	c := &cluster.Cluster{Get: serve(t, s), Metrics: cluster.NewMetrics(registry)}
	defer c.Close()
	account := c.For("ns", workload.Identity{ServiceAccount: "app"})
	if got := users(account.Credentials(t.Context(), image, false)); got != "u (unread)" {
		t.Errorf("Credentials = %q, want u, and a mark for the secret with an internal error", got)
	}
	named(c, "../serviceaccounts/app").Credentials(t.Context(), image, false)
	want := []string{
		"GET /api/v1/namespaces/ns/serviceaccounts/app", "GET /api/v1/namespaces/ns/secrets/mine",
		"GET /api/v1/namespaces/ns/secrets/gone",
		"GET /api/v1/namespaces/ns/secrets/closed", "GET /api/v1/namespaces/ns/secrets/broken",
	}
	if diff := cmp.Diff(want, s.requests, sorted); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
	counted := map[string]float64{
		"serviceaccount ok": 1,
		"secret ok":         1, "secret missing": 1, "secret forbidden": 1, "secret error": 1,
	}
	if diff := cmp.Diff(counted, counts(t, registry)); diff != "" {
		t.Errorf("metrics: -want +got\n%s", diff)
	}
}

// heldServer is a connection to an API server that does not answer for namespaces that begin with
// "loud" until release is closed. Then all requests fail.
type heldServer struct {
	loud, others atomic.Int64 // requests
	release      chan struct{}
}

func (h *heldServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, "/namespaces/loud") {
		h.others.Add(1)
		return nil, errors.New("connection refused")
	}
	h.loud.Add(1)
	<-h.release
	return nil, errors.New("connection refused")
}

// flood starts pods in a namespace that each name 50 secrets of their own. The WaitGroup waits
// until all of them have their credentials.
func flood(t *testing.T, c *cluster.Cluster, namespace string, pods int) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for pod := range pods {
		var secrets []string
		for i := range 50 {
			secrets = append(secrets, fmt.Sprintf("s%d-%d", pod, i))
		}
		wg.Go(func() {
			c.For(namespace, workload.Identity{PullSecrets: secrets}).Credentials(t.Context(), image, false)
		})
	}
	synctest.Wait()
	return &wg
}

// newHeld returns a Cluster for a heldServer.
func newHeld(t *testing.T) (*cluster.Cluster, *heldServer) {
	t.Helper()
	h := &heldServer{release: make(chan struct{})}
	client, err := kubernetes.NewForConfig(
		&rest.Config{Host: "https://api.example", QPS: -1, Transport: h},
	)
	if err != nil {
		t.Fatal(err)
	}
	get := cluster.FromClient(client.CoreV1().RESTClient(), cluster.Places(), &fair.Queue{})
	return &cluster.Cluster{Get: get}, h
}

// TestConcurrentReads checks the maximum number of reads at a time, for each namespace and for all,
// and that the other reads wait for their turn.
func TestConcurrentReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := newHeld(t)
		defer c.Close()
		first := flood(t, c, "loud", 2)
		if n := h.loud.Load(); n != 8 {
			t.Errorf("%d reads of one namespace at a time, want 8", n)
		}
		var others []*sync.WaitGroup
		for i := range 5 {
			others = append(others, flood(t, c, fmt.Sprintf("loud%d", i), 2))
		}
		if n := h.loud.Load(); n != 32 {
			t.Errorf("%d reads at a time, want 32", n)
		}
		close(h.release)
		first.Wait()
		for _, o := range others {
			o.Wait()
		}
		if n := h.loud.Load(); n != 600 {
			t.Errorf("%d reads, want 600, all of them", n)
		}
	})
}

// TestNamespacesShare checks that many reads of one namespace don't delay those of another one, and
// that few lookups of a namespace read at a time.
func TestNamespacesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := newHeld(t)
		defer c.Close()
		before := runtime.NumGoroutine()
		loud := flood(t, c, "loud", 20)
		if n := runtime.NumGoroutine() - before; n > 20+3*4*2 {
			t.Errorf("%d goroutines for 20 pods, want one for each, and those of 3 with 4 reads each", n)
		}
		quiet := flood(t, c, "quiet", 1)
		if n := h.others.Load(); n != 50 {
			t.Errorf("%d reads of the quiet namespace, want 50", n)
		}
		close(h.release)
		loud.Wait()
		quiet.Wait()
		if n := h.loud.Load(); n != 1000 {
			t.Errorf("%d reads of the loud namespace, want 1000, all of them", n)
		}
	})
}

// secretsOfSizes is a connection to an API server whose secrets have the number of bytes that is
// their name. A large one ends when release is closed.
type secretsOfSizes struct{ release chan struct{} }

func (s secretsOfSizes) RoundTrip(r *http.Request) (*http.Response, error) {
	size, err := strconv.Atoi(path.Base(r.URL.Path))
	begin := `{"metadata":{"name":"` + strings.Repeat("x", size) + `"},`
	end := `"type":"kubernetes.io/dockercfg",` +
		`"data":{".dockercfg":"eyJnaGNyLmlvIjp7ImF1dGgiOiJkVHB3In19"}}`
	body := io.MultiReader(strings.NewReader(begin), s, strings.NewReader(end))
	if size < 100_000 {
		body = strings.NewReader(begin + end)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(body),
	}, err
}

// Read waits, and reads nothing.
func (s secretsOfSizes) Read([]byte) (int, error) {
	<-s.release
	return 0, io.EOF
}

// TestLargeSecrets checks that only a few large secrets are read at a time, that small ones don't
// wait for them, and that one that is too large counts as unread.
func TestLargeSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := secretsOfSizes{make(chan struct{})}
		client, err := kubernetes.NewForConfig(
			&rest.Config{Host: "https://api.example", QPS: -1, Transport: s},
		)
		if err != nil {
			t.Fatal(err)
		}
		large := &fair.Queue{Capacity: 24 << 20, Share: 12 << 20}
		get := cluster.FromClient(client.CoreV1().RESTClient(), cluster.Places(), large)
		c := &cluster.Cluster{Get: get}
		defer c.Close()
		wantUsers := func(namespace, secret, want string) {
			id := workload.Identity{PullSecrets: []string{secret}}
			if got := users(c.For(namespace, id).Credentials(t.Context(), image, false)); got != want {
				t.Errorf("credentials of a secret of %s bytes = %q, want %q", secret, got, want)
			}
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { wantUsers(fmt.Sprint("n", i), "1000000", "u") })
		}
		synctest.Wait()
		if got := large.Stats(); got.InUse != 24<<20 || got.Waiting != 6 {
			t.Errorf("%+v, want the bytes of two secrets in use, and six waiting", got)
		}
		wantUsers("n0", "1000", "u")
		close(s.release)
		wg.Wait()
		wantUsers("n0", "5000000", "(unread)")
		if large.Stats().InUse != 0 {
			t.Error("some bytes were not given back")
		}
	})
}
