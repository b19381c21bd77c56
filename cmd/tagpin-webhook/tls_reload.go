// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tagpin/tagpin/pkg/reload"
	"github.com/tagpin/tagpin/pkg/reminder"
)

// The TLS files, as the label of the metric names them: those of the webhook's port, and those that
// the config names for registries.
const (
	certificateFiles = "certificate"
	clientCAFiles    = "client-ca"
	registryFiles    = "registries"
)

// registryFilesInterval is the time between two looks at the TLS files of registries.
const registryFilesInterval = 10 * time.Second

// newTLSReloads returns the gauge of TLS files. It has a series only for files that are read again.
func newTLSReloads(r prometheus.Registerer) *prometheus.GaugeVec {
	successful := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_tls_last_reload_successful",
		Help: "1 if TLS files are in use as they are, 0 if they were refused and the former ones stay " +
			"in use, by files: certificate (in --cert-dir) and client-ca (of --client-ca), which are only " +
			"present if the server was given them, and registries (those that the config names for " +
			"registries).",
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
	show := showTLS(name, successful, log)
	return func(ctx context.Context) error {
		files.Poll(ctx, use, func(_ T, err error) { show(err) })
		return nil
	}
}

// watchRegistryFiles returns a task that calls look now and then, which looks at the TLS files of
// the current config's registries, whether or not anybody asks these registries. It logs and
// measures the result as rereadTLS does.
func watchRegistryFiles(
	look func() error, successful *prometheus.GaugeVec, log logr.Logger,
) manager.RunnableFunc {
	show := showTLS(registryFiles, successful, log)
	return func(ctx context.Context) error {
		ticker := time.NewTicker(registryFilesInterval)
		defer ticker.Stop()
		var shown reminder.Reminder
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
			err, text := look(), ""
			if err != nil {
				text = err.Error()
			}
			if shown.Due(text) {
				show(err)
			}
		}
	}
}

// showTLS returns a function that logs and measures that TLS files came into use, or that they were
// refused for the reason err.
func showTLS(
	name string, successful *prometheus.GaugeVec, log logr.Logger,
) (show func(err error)) {
	inUse := successful.WithLabelValues(name)
	inUse.Set(1)
	return func(err error) {
		if err != nil {
			inUse.Set(0)
			log.Error(err, "TLS files refused; the former ones stay in use", "files", name)
			return
		}
		inUse.Set(1)
		log.Info("TLS files are in use", "files", name)
	}
}
