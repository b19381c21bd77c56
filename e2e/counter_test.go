// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/poll"
)

// countedLabel replaces the label of the mode in the copy of the registration that calls the
// counter.
const countedLabel = "e2e.tagpin.dev/counted"

// counter is a webhook that allows every request and counts its calls.
type counter struct {
	mu    sync.Mutex
	calls map[string]int // by path and namespace
}

// ServeHTTP answers a review.
func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.calls[r.URL.Path+" "+review.Request.Namespace]++
	c.mu.Unlock()
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // it fails only if the connection does
}

// take returns the number of calls since it was last called.
func (c *counter) take(mode, ns string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.calls["/"+mode+" "+ns]
	delete(c.calls, "/"+mode+" "+ns)
	return n
}

// startCounter installs a copy of the registration that calls a counter.
func startCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{calls: map[string]int{}}
	url := serveTLS(t, c)
	const name = "zz-tagpin-counted"
	if err := env.InstallCopy(t.Context(), name, countedLabel, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteWebhook(t, name) })
	ns := newLabelled(t, countedLabel, "enforce")
	poll.Until(t, func(ctx context.Context) error {
		if _, err := dryRun(ctx, ns, "a:1"); err != nil {
			return err
		}
		if c.take("enforce", ns) == 0 {
			return fmt.Errorf("the registration is not in force")
		}
		return nil
	})
	return c
}

// serveTLS serves a webhook until the test ends, with a certificate of the environment's CA.
func serveTLS(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	leaf, err := env.CA.Issue()
	if err != nil {
		t.Fatal(err)
	}
	serving, err := leaf.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = serving
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func deleteWebhook(t *testing.T, name string) {
	t.Helper()
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if err := api.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
