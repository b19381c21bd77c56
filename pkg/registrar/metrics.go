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
	// rules has no labels. It is a vector, so that it can be absent.
	rules, asWanted *prometheus.GaugeVec
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
		asWanted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_registration_as_wanted",
			Help: "1 if a webhook of the registration is as this server's version and config want it, and " +
				"trusts the certificate that is served, else 0. The log names the fields that differ. " +
				"Absent until it was read, and if it has no rules.",
		}, []string{"webhook"}),
	}
	r.MustRegister(m.updates, m.renewals)
	if registration {
		r.MustRegister(m.rules, m.asWanted)
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
