// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"

	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// witness collects everything that tagpin writes in these tests, and the secrets that it must not
// write.
type witness struct {
	prometheus *prometheus.Registry
	requests   *registry.Metrics
	lookups    *resolve.Metrics

	mu      sync.Mutex
	output  strings.Builder
	secrets map[string]bool
}

func newWitness() *witness {
	r := prometheus.NewRegistry()
	return &witness{
		prometheus: r, requests: registry.NewMetrics(r), lookups: resolve.NewMetrics(r),
		secrets: map[string]bool{e2eregistry.Canary: true, e2eregistry.EncodedCanary(): true},
	}
}

// Write adds a text of a log.
func (w *witness) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.output.Write(p)
}

// err adds the text of an error and of each error that it wraps, because somebody may log those.
func (w *witness) err(err error) {
	if err == nil {
		return
	}
	_, _ = fmt.Fprintf(w, "%v\n", err)
	switch u := err.(type) { //nolint:errorlint // it walks the tree of errors itself
	case interface{ Unwrap() error }:
		w.err(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			w.err(e)
		}
	}
}

func (w *witness) secret(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[text] = true
}

// check fails if a secret is in the output or in the metrics.
func (w *witness) check() error {
	families, err := w.prometheus.Gather()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range families {
		fmt.Fprintln(&w.output, f)
	}
	var errs []error
	output := w.output.String()
	for secret := range w.secrets {
		if i := strings.Index(output, secret); i >= 0 {
			errs = append(errs, fmt.Errorf("tagpin has written a secret: %s", output[max(0, i-100):min(len(output), i+len(secret)+100)]))
		}
	}
	return errors.Join(errs...)
}

// login returns a credential of the user.
func login(password string) keychain.Credential {
	return keychain.Credential{Auth: authn.AuthConfig{Username: e2eregistry.User, Password: password}}
}

func right() keychain.Credential { return login(e2eregistry.Password) }

func wrong() keychain.Credential { return login(e2eregistry.WrongPassword) }

// TestWitness checks that the witness finds a secret wherever it is.
func TestWitness(t *testing.T) {
	for where, leak := range map[string]func(w *witness){
		"error": func(w *witness) { w.err(errors.New("the " + e2eregistry.Password)) },
		"encoded": func(w *witness) {
			w.err(errors.New(base64.StdEncoding.EncodeToString([]byte(e2eregistry.User + ":" + e2eregistry.WrongPassword))))
		},
		"wrapped error": func(w *witness) { w.err(&hiding{errors.New("the token is abc")}) },
		"log":           func(w *witness) { _, _ = w.Write([]byte("the " + e2eregistry.Canary)) },
		"metric": func(w *witness) {
			w.prometheus.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "g", ConstLabels: prometheus.Labels{"host": e2eregistry.Canary}}))
		},
	} {
		w := newWitness()
		w.secret("abc")
		if err := w.check(); err != nil {
			t.Errorf("without output: %v", err)
		}
		leak(w)
		if w.check() == nil {
			t.Errorf("%s: the secret was not found", where)
		}
	}
}

// hiding hides the text of the error that it wraps.
type hiding struct{ inner error }

func (h *hiding) Error() string { return "hidden" }
func (h *hiding) Unwrap() error { return h.inner }
