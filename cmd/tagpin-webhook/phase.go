// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// phase is how far the server is: starting, serving or draining.
type phase struct {
	started  atomic.Bool
	draining atomic.Bool
}

// wrap closes connections after their answer while the server drains, so that callers come to another replica. Over
// HTTP/2 the header becomes a GOAWAY.
func (p *phase) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (p *phase) alive(*http.Request) error { return nil }

// ready means: the handlers are registered and the config is valid, without which nothing is started; and the port answers,
// for which there has to be a certificate. That is asked until it did once: each time costs a TLS handshake, and with --client-ca a
// line in the log.
func (p *phase) ready(serving healthz.Checker) healthz.Checker {
	return func(r *http.Request) error {
		if p.draining.Load() {
			return errors.New("draining")
		}
		if p.started.Load() {
			return nil
		}
		if err := serving(r); err != nil {
			return err
		}
		p.started.Store(true)
		return nil
	}
}
