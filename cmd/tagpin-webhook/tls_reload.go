// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tagpin/tagpin/pkg/reload"
)

// The TLS files of the webhook's port, as the label of the metric names them.
const (
	certificateFiles = "certificate"
	clientCAFiles    = "client-ca"
)

// newTLSReloads returns the gauge of TLS files. It has a series only for files that are read again.
func newTLSReloads(r prometheus.Registerer) *prometheus.GaugeVec {
	successful := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_tls_last_reload_successful",
		Help: "1 if TLS files of the webhook's port are in use as they are, 0 if they were refused and " +
			"the former ones stay in use, by files: certificate (in --cert-dir), client-ca (of " +
			"--client-ca). Only present for files that the server was given.",
	}, []string{"files"})
	r.MustRegister(successful)
	return successful
}

// rereadTLS returns a task that passes each valid version of files to use. It logs the versions
// that are refused, and sets successful to 0 as long as the files are refused.
func rereadTLS[T any](
	name string, files *reload.Files[T], use func(T) error,
	successful *prometheus.GaugeVec, log logr.Logger,
) manager.RunnableFunc {
	inUse := successful.WithLabelValues(name)
	inUse.Set(1)
	return func(ctx context.Context) error {
		files.Poll(ctx, use, func(_ T, err error) {
			if err != nil {
				inUse.Set(0)
				log.Error(err, "TLS files refused; the former ones stay in use", "files", name)
				return
			}
			inUse.Set(1)
			log.Info("TLS files are in use", "files", name)
		})
		return nil
	}
}
