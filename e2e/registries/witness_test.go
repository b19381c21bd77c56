// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"

	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// witness collects everything that tagpin writes in these tests, and the secrets that it must not
// write, or show to other hosts than their own.
type witness struct {
	*canaries
	prometheus *prometheus.Registry
	asked      *registry.Metrics
	lookups    *resolve.Metrics

	output strings.Builder
}

func newWitness() *witness {
	r := prometheus.NewRegistry()
	return &witness{
		canaries: newCanaries(), prometheus: r,
		asked: registry.NewMetrics(r), lookups: resolve.NewMetrics(r),
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
	_, _ = fmt.Fprintf(w, "%v\n%s\n", err, failure.Cause(err))
	switch u := err.(type) { //nolint:errorlint // it walks the tree of errors itself
	case interface{ Unwrap() error }:
		w.err(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			w.err(e)
		}
	}
}

// check fails if a secret is in the output, in the metrics, or in a request to another host.
func (w *witness) check() error {
	families, err := w.prometheus.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		fmt.Fprintln(w, f)
	}
	errs := []error{w.leaks()}
	w.mu.Lock()
	defer w.mu.Unlock()
	output := w.output.String()
	secrets := slices.Collect(maps.Keys(w.secrets))
	for _, secret := range append(secrets, e2eregistry.Canary, e2eregistry.EncodedCanary()) {
		if i := strings.Index(output, secret); i >= 0 {
			errs = append(errs, fmt.Errorf("tagpin has written a secret: %s", output[max(0, i-100):min(len(output), i+len(secret)+100)]))
		}
	}
	return errors.Join(errs...)
}

// right returns the credential that the endpoint accepts, and wrong one that it refuses.
func (e *endpoint) right() keychain.Credential { return login(e.password) }

func (e *endpoint) wrong() keychain.Credential {
	password := e.password + e2eregistry.WrongPassword
	env.seen.secret(password, e.owner)
	return login(password)
}

func login(password string) keychain.Credential {
	return keychain.Credential{Auth: authn.AuthConfig{Username: e2eregistry.User, Password: password}}
}

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
		w.secret("abc", "")
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
