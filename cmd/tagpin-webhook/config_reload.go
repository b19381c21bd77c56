// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tagpin/tagpin/pkg/config"
)

// reload puts each valid version of the config file into force, and then calls changed.
func (s *server) reload(
	h *handlers, r prometheus.Registerer, changed func(),
) manager.RunnableFunc {
	s.logNotes(s.config)
	count := newReloads(r)
	return func(ctx context.Context) error {
		s.configFile.Poll(ctx, h.load, func(c *config.Config, err error) {
			count(err)
			if err != nil {
				s.log.Error(err, "config refused; the former one stays in force")
				return
			}
			s.log.Info("config reloaded")
			s.logNotes(c)
			if names := needRestart(s.config, c); len(names) > 0 {
				s.log.Info("settings have changed that take effect after a restart", "settings", names)
			}
			changed()
		})
		return nil
	}
}

// needRestart returns the names of the settings in which two configs differ and that are only read
// at the start.
func needRestart(a, b *config.Config) (names []string) {
	if a.Observability != b.Observability {
		names = append(names, "observability")
	}
	if a.Certificates != b.Certificates {
		names = append(names, "certificates")
	}
	if a.Registration.Name != b.Registration.Name {
		names = append(names, "registration.name")
	}
	return names
}

func (s *server) logNotes(c *config.Config) {
	for _, note := range notes(c, s.options.standalone) {
		s.log.Info(note)
	}
}

// notes returns what users should know about settings that have no effect, or not the expected one.
func notes(c *config.Config, standalone bool) (notes []string) {
	selfManaged := c.Certificates.Mode == config.SelfManaged
	if standalone && selfManaged {
		notes = append(notes, "certificates.mode self-managed needs an API server: with --standalone "+
			"the files in --cert-dir are served, and read again when they change")
	}
	if standalone && c.Registration.Name != "" {
		notes = append(notes, "registration.name has no effect with --standalone")
	}
	if !standalone && selfManaged && c.Registration.Name == "" {
		notes = append(notes, "registration.name is not set: put ca.crt of the secret "+
			c.Certificates.Secret+" into the caBundle of the registration, also whenever it changes")
	}
	return notes
}

// newReloads returns a function that counts a config that came into force, or one that was refused
// for the reason err.
func newReloads(r prometheus.Registerer) (count func(err error)) {
	changes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_config_reloads_total",
		Help: "Times that a config came into force (ok), or that the log said that one was refused " +
			"and the former one stays in force (refused; again every ten minutes), by result.",
	}, []string{"result"})
	successful := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tagpin_config_last_reload_successful",
		Help: "1 if the config file is in force, 0 if it was refused and the former one stays in force.",
	})
	r.MustRegister(changes, successful)
	ok, refused := changes.WithLabelValues("ok"), changes.WithLabelValues("refused")
	successful.Set(1)
	return func(err error) {
		if err != nil {
			refused.Inc()
			successful.Set(0)
		} else {
			ok.Inc()
			successful.Set(1)
		}
	}
}
