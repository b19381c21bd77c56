// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// phase is how far the server is: serving or draining.
type phase struct {
	draining atomic.Bool
}

// wrap closes connections after their answer while the server drains, so that callers come to
// another replica.
func (p *phase) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ready returns a check that fails while the server drains, and when serving does.
func (p *phase) ready(serving healthz.Checker) healthz.Checker {
	return func(r *http.Request) error {
		if p.draining.Load() {
			return errors.New("draining")
		}
		return serving(r)
	}
}
