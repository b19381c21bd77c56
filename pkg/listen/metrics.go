// SPDX-License-Identifier: Apache-2.0

package listen

import "github.com/prometheus/client_golang/prometheus"

// Metrics count the connections of several ports.
type Metrics struct {
	open   *prometheus.GaugeVec
	closed *prometheus.CounterVec
}

// NewMetrics registers the metrics, with zeros for the ports of the given names.
func NewMetrics(r prometheus.Registerer, ports ...string) *Metrics {
	m := &Metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_connections",
			Help: "Open connections, by port: webhook, metrics, probes, or audit, the only one of the " +
				"audit.",
		}, []string{"port"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_connections_closed_total",
			Help: "Connections that were closed early, by port (webhook, metrics, probes, or audit, " +
				"the only one of the audit) and reason: " +
				"refused (the port or the peer had too many with a request under way), " +
				"displaced (a newer one took its place while it waited for its peer), " +
				"cut (a peer with fewer connections took its place in the middle of a request), " +
				"header (it had more lines than any API server sends), " +
				"handshake (the TLS handshake failed).",
		}, []string{"port", "reason"}),
	}
	r.MustRegister(m.open, m.closed)
	for _, port := range ports {
		m.open.WithLabelValues(port)
		for reason := range closeTexts {
			m.closed.WithLabelValues(port, string(reason))
		}
	}
	return m
}

// closeReason is the reason why a connection was closed early. It is a label of a metric.
type closeReason string

const (
	closeRefused   closeReason = "refused"
	closeDisplaced closeReason = "displaced"
	closeCut       closeReason = "cut"
	closeHeader    closeReason = "header"
	closeHandshake closeReason = "handshake"
)

// closeTexts are the log messages.
var closeTexts = map[closeReason]string{
	closeRefused:   "connection refused: the port or the peer has too many with a request under way",
	closeDisplaced: "connection closed: a newer one needs its place",
	closeCut: "connection closed in the middle of a request: " +
		"a peer with fewer connections needs its place",
	closeHeader:    "connection closed: a request's header has too many lines",
	closeHandshake: "TLS handshake failed",
}

// closedEarly counts a connection that is closed early. It logs only some of them, because anyone
// who reaches the port can cause any number.
func (l *Listener) closedEarly(c *conn, reason closeReason, values ...any) {
	l.port.Metrics.closed.WithLabelValues(l.port.Name, string(reason)).Inc()
	l.logs[reason].Do(func() {
		values = append([]any{"peer", c.RemoteAddr().String()}, values...)
		l.port.Log.Info(closeTexts[reason], values...)
	})
}
