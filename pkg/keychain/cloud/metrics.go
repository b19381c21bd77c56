// SPDX-License-Identifier: Apache-2.0

package cloud

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts requests for credentials. A nil *Metrics counts nothing.
type Metrics struct{ requests *prometheus.CounterVec }

// NewMetrics creates the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_cloud_credentials_total",
		Help: "Requests for a credential of a cloud's identity, by cloud (google, amazon, azure) and" +
			" result: ok, or failed (the log has the reason). A credential is used for up to an hour" +
			" after its cloud gave the last one. 0 for the clouds that the config does not switch on.",
	}, []string{"cloud", "result"})}
	r.MustRegister(m.requests)
	// The counters start at 0, so that increase() sees the first failure.
	for _, p := range []Provider{Google, Amazon, Azure} {
		m.requests.WithLabelValues(string(p), "ok")
		m.requests.WithLabelValues(string(p), "failed")
	}
	return m
}

func (m *Metrics) count(p Provider, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.requests.WithLabelValues(string(p), "failed").Inc()
	default:
		m.requests.WithLabelValues(string(p), "ok").Inc()
	}
}
