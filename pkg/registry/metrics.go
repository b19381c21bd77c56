// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/span"
)

const (
	otherRegistry = "other" // tenants choose the host of an image: it is no label
	tokenRequest  = "token"
)

// Metrics counts what goes over the wire. Its labels are closed sets. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	closed   *prometheus.CounterVec
	pulls    *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_registry_requests_total",
			Help: "Requests to registries (other where the config does not name it), by kind (HEAD, GET, token) and answer: 200, 401, 403, 404, 429, 503, 4xx and 5xx for the rarer ones, else for redirects that lead nowhere and the like, none.",
		}, []string{"registry", "kind", "answer"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_registry_not_asked_total",
			Help: "Requests to registries (other where the config does not name it) that were not made, since an answer a moment ago (429, 503, a refused login, a failed connection) said not to.",
		}, []string{"registry"}),
		pulls: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_registry_pulls_remaining",
			Help: "Pulls that a registry said it still allows (ratelimit-remaining), by its last answer that said so; only of registries that the config names.",
		}, []string{"registry"}),
	}
	r.MustRegister(m.requests, m.closed, m.pulls)
	return m
}

func (l *lookup) label() string {
	_, at := l.state.find(l.host.Name)
	if name, ok := l.state.named[at]; ok {
		return name // as the config spells it: a tenant may spell it in many ways
	}
	return otherRegistry
}

// count counts a request and its answer, nil where there was none, and tells its span of them.
func (l *lookup) count(kind string, resp *http.Response, s span.Span) {
	s.Text("tagpin.registry", l.host.Name)
	s.Text("tagpin.kind", kind)
	if s.Text("tagpin.redirected_to", l.via); resp == nil || resp.StatusCode != http.StatusOK {
		s.Fail(answer(resp))
	}
	if resp != nil {
		s.Number("http.response.status_code", resp.StatusCode)
	}
	m := l.client.Metrics
	if m == nil {
		return
	}
	m.requests.WithLabelValues(l.label(), kind, answer(resp)).Inc()
	if resp == nil || kind == tokenRequest {
		return
	}
	if n := parseRemaining(resp.Header); n >= 0 && l.client.Named(l.host.Name) {
		m.pulls.WithLabelValues(l.label()).Set(float64(n))
	}
}

func (l *lookup) countClosed() {
	if m := l.client.Metrics; m != nil {
		m.closed.WithLabelValues(l.label()).Inc()
	}
}

// answer is a label for a status: a registry may send any.
func answer(resp *http.Response) string {
	switch {
	case resp == nil:
		return "none"
	case resp.StatusCode == http.StatusOK:
		return "200"
	case resp.StatusCode == http.StatusUnauthorized:
		return "401"
	case resp.StatusCode == http.StatusForbidden:
		return "403"
	case resp.StatusCode == http.StatusNotFound:
		return "404"
	case resp.StatusCode == http.StatusTooManyRequests:
		return "429"
	case resp.StatusCode == http.StatusServiceUnavailable:
		return "503"
	case resp.StatusCode >= 500:
		return "5xx"
	case resp.StatusCode >= 400:
		return "4xx"
	}
	return "else"
}
