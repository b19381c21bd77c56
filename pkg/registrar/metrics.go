// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

type metrics struct {
	updates, renewals *prometheus.CounterVec
	// rules and asConfigured have no labels. They are vectors, so that they can be absent.
	rules, asConfigured *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer, registration bool) *metrics {
	m := &metrics{
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_registration_updates_total",
			Help: "Writes of the registration, by result: updated, unchanged (this server's rules " +
				"were already there), or failed (also if it could not be read).",
		}, []string{"result"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_certificate_renewals_total",
			Help: "Renewals of self-managed certificates, by result: ok, or failed " +
				"(each attempt that ended with an error).",
		}, []string{"result"}),
		rules: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_registration_rules",
			Help: "Rules in the registration that the server fills in, of the webhook that has the " +
				"fewest. 0 if the registration does not exist, or one of its webhooks has no rules and " +
				"so pins nothing. Absent until it was read.",
		}, []string{}),
		asConfigured: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_registration_as_configured",
			Help: "1 if the registration has the rules and conditions that this server's version and " +
				"config want, else 0. Absent until it was read, and if it has no rules.",
		}, []string{}),
	}
	r.MustRegister(m.updates, m.renewals)
	if registration {
		r.MustRegister(m.rules, m.asConfigured)
	}
	// Alerts need counters that begin at 0.
	m.updates.WithLabelValues("failed")
	m.renewals.WithLabelValues("failed")
	return m
}

// failed counts an error and returns it. It is not a failure if another replica was faster, or if
// the server ends.
func failed(v *prometheus.CounterVec, err error) error {
	if err != nil && !apierrors.IsConflict(err) && !errors.Is(err, context.Canceled) {
		v.WithLabelValues("failed").Inc()
	}
	return err
}

// observe sets the metrics of the registration. It logs when the registration begins to have other
// rules than this server wants.
func (r *Registrar) observe() {
	fewest, _ := countRules(r.live)
	r.rules.WithLabelValues().Set(float64(fewest))
	if fewest == 0 {
		r.asConfigured.Reset()
		return
	}
	patch, err := difference(r.live, withRules(r.live, r.wanted))
	differs := patch != nil || err != nil
	if differs && !r.differs {
		r.Log.Info("the registration has other rules or conditions "+
			"than this server's version and config want",
			"name", r.Name, "writtenBy", r.live.Annotations[writtenBy], "self", r.self().String())
	}
	r.differs = differs
	asConfigured := 1.0
	if differs {
		asConfigured = 0
	}
	r.asConfigured.WithLabelValues().Set(asConfigured)
}
