// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/workload"
)

// apiServer answers as an API server does, and notes what it is asked.
type apiServer struct {
	mu    sync.Mutex
	asked []string
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
	}
	switch r.URL.Path {
	case "/api/v1/namespaces/ns/serviceaccounts/app":
		fmt.Fprint(w, `{"kind":"ServiceAccount","apiVersion":"v1","imagePullSecrets":[{"name":"mine"},{},{"name":"gone"},{"name":"closed"},{"name":"ill"}]}`)
	case "/api/v1/namespaces/ns/secrets/mine":
		fmt.Fprint(w, `{"kind":"Secret","apiVersion":"v1","type":"kubernetes.io/dockercfg","data":{".dockercfg":"eyJnaGNyLmlvIjp7ImF1dGgiOiJkVHB3In19"}}`)
	case "/api/v1/namespaces/ns/secrets/closed":
		status(http.StatusForbidden, "Forbidden")
	case "/api/v1/namespaces/ns/secrets/ill":
		status(http.StatusInternalServerError, "InternalError")
	default:
		status(http.StatusNotFound, "NotFound")
	}
}

func serve(t *testing.T, s *apiServer) cluster.Getter {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return cluster.FromClient(client.CoreV1(), cluster.Places())
}

// TestFromClient goes through client-go: gets alone, and each answer of an API server counted as what it is.
func TestFromClient(t *testing.T) {
	s := &apiServer{}
	registry := prometheus.NewRegistry()
	c := &cluster.Cluster{Getter: serve(t, s), Metrics: cluster.NewMetrics(registry)}
	defer c.Close()
	if got := users(c.For("ns", workload.Identity{ServiceAccount: "app"}).Credentials(t.Context(), image, false)); got != "u (unread)" { // the ill one
		t.Errorf("Credentials = %q, want u", got)
	}
	c.For("ns", workload.Identity{PullSecrets: []string{"../serviceaccounts/app"}}).Credentials(t.Context(), image, false)
	want := []string{
		"GET /api/v1/namespaces/ns/serviceaccounts/app", "GET /api/v1/namespaces/ns/secrets/mine", "GET /api/v1/namespaces/ns/secrets/gone",
		"GET /api/v1/namespaces/ns/secrets/closed", "GET /api/v1/namespaces/ns/secrets/ill",
	}
	if diff := cmp.Diff(want, s.asked, sorted); diff != "" {
		t.Errorf("asked: -want +got\n%s", diff)
	}
	counted := map[string]float64{"serviceaccount ok": 1, "secret ok": 1, "secret missing": 1, "secret forbidden": 1, "secret error": 1}
	if diff := cmp.Diff(counted, counts(t, registry)); diff != "" {
		t.Errorf("metrics: -want +got\n%s", diff)
	}
}

// held is a connection to an API server that answers nothing of the namespace loud before it is let go.
type held struct {
	loud, others atomic.Int64 // asked
	gone         chan struct{}
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, "/namespaces/loud") {
		h.others.Add(1)
		return nil, errors.New("gone")
	}
	h.loud.Add(1)
	<-h.gone
	return nil, errors.New("gone")
}

// flood has so many pods of a namespace name 50 secrets each that nobody else names. Wait returns when all have theirs.
func flood(t *testing.T, c *cluster.Cluster, namespace string, pods int) *sync.WaitGroup {
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

// flooded gives a Cluster on a connection that holds what it is asked.
func flooded(t *testing.T) (*cluster.Cluster, *held) {
	t.Helper()
	h := &held{gone: make(chan struct{})}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://api.example", QPS: -1, Transport: h})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster.Cluster{Getter: cluster.FromClient(client.CoreV1(), cluster.Places())}, h
}

// The reads under way at once are bounded, for each namespace and for all, whatever many pods name; the others wait for
// their turn.
func TestReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := flooded(t)
		defer c.Close()
		first := flood(t, c, "loud", 1)
		if n := h.loud.Load(); n != 8 {
			t.Errorf("%d reads of one namespace under way at once, want 8", n)
		}
		var others []*sync.WaitGroup
		for i := range 5 {
			others = append(others, flood(t, c, fmt.Sprintf("loud%d", i), 1))
		}
		if n := h.loud.Load(); n != 32 {
			t.Errorf("%d reads under way at once, want 32", n)
		}
		close(h.gone)
		first.Wait()
		for _, o := range others {
			o.Wait()
		}
		if n := h.loud.Load(); n != 300 {
			t.Errorf("%d reads, want all 300", n)
		}
	})
}

// However many secrets the pods of one namespace name, those of another are read at once. Of the flood, so many wait.
func TestNamespacesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := flooded(t)
		defer c.Close()
		loud := flood(t, c, "loud", 20)
		quiet := flood(t, c, "quiet", 1)
		if n := h.others.Load(); n != 50 {
			t.Errorf("%d reads of the other namespace, want 50", n)
		}
		close(h.gone)
		loud.Wait()
		quiet.Wait()
		if n := h.loud.Load(); n != 8*17 {
			t.Errorf("%d reads of the flood, want 136", n)
		}
	})
}
