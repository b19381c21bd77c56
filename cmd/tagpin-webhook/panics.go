// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/panics"
)

// newPanics returns a Reporter that logs and counts panics. Each panic is a bug that has stopped
// one review or one lookup.
func newPanics(log logr.Logger, r prometheus.Registerer) *panics.Reporter {
	caught := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tagpin_panics_total",
		Help: "Bugs that stopped a review or a lookup. The log has each with its stack.",
	})
	r.MustRegister(caught)
	return &panics.Reporter{Report: func(e *panics.Error) {
		caught.Inc()
		log.Error(e, "bug: please report it with this line",
			"value", e.Value, "stack", string(e.Stack))
	}}
}

// recovering answers a review with an error if next panics. The API server then does what the
// registration's failurePolicy says.
func recovering(r *panics.Reporter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		err := r.Catch("answering a review", func() error {
			next.ServeHTTP(w, req)
			return nil
		})
		if err != nil {
			http.Error(w, "tagpin: "+err.Error(), http.StatusInternalServerError)
		}
	})
}
