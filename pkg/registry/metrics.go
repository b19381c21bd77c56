// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/span"
)

const (
	otherRegistry = "other" // the label of a host without one

	// Kinds of requests beside the methods of those for manifests.
	tokenRequest     = "token"
	challengeRequest = "challenge"
)

// Metrics counts HTTP requests. Its labels have a bounded set of values. A nil *Metrics counts
// nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	closed   *prometheus.CounterVec
	pulls    *prometheus.GaugeVec
}

// NewMetrics returns new metrics that are registered with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_registry_requests_total",
			Help: "Requests to registries (other, unless the config names it or it is well known), by" +
				" kind (HEAD, GET, token, or challenge at /v2/) and answer: 200, 401, 403, 404, 429," +
				" 503, 4xx and 5xx for the rarer ones, else (any other status) or none (no answer).",
		}, []string{"registry", "kind", "answer"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_registry_not_asked_total",
			Help: "Requests to registries (other, unless the config names it or it is well known) " +
				"that were not made, since an answer a moment ago (429, 503, a refused login, a failed " +
				"connection) said not to.",
		}, []string{"registry"}),
		pulls: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_registry_pulls_remaining",
			Help: "Pulls that a registry said it still allows (ratelimit-remaining), by its last " +
				"answer that said so; only of registries that the config names or that are well known.",
		}, []string{"registry"}),
	}
	r.MustRegister(m.requests, m.closed, m.pulls)
	return m
}

// Begin makes the counters of failures start at 0 for registries with these labels, and for all
// others together, so that increase() sees the first failure.
func (m *Metrics) Begin(labels []string) {
	m.closed.WithLabelValues(otherRegistry)
	for _, label := range labels {
		m.closed.WithLabelValues(label)
	}
}

// count counts a request and its answer, or nil if there was none, and describes it in its span.
func (l *lookup) count(kind string, resp *http.Response, s span.Span) {
	answer := answerLabel(resp)
	s.Text("tagpin.registry", l.Name)
	s.Text("tagpin.kind", kind)
	s.Text("tagpin.redirected_to", l.via)
	if answer != "200" {
		s.Fail(answer)
	}
	if resp != nil {
		s.Number("http.response.status_code", resp.StatusCode)
	}
	m := l.client.Metrics
	if m == nil {
		return
	}
	m.requests.WithLabelValues(cmp.Or(l.label, otherRegistry), kind, answer).Inc()
	ofManifest := kind != tokenRequest && kind != challengeRequest && l.via == ""
	if resp == nil || !ofManifest || l.label == "" || l.ownLogin() {
		return // a namespace's own account may have another quota than the nodes
	}
	if n := remainingPulls(resp.Header); n >= 0 {
		m.pulls.WithLabelValues(l.label).Set(float64(n))
	}
}

func (l *lookup) countClosed() {
	if m := l.client.Metrics; m != nil {
		m.closed.WithLabelValues(cmp.Or(l.label, otherRegistry)).Inc()
	}
}

// answerLabel returns the label of an answer. A registry may send any status.
func answerLabel(resp *http.Response) string {
	if resp == nil {
		return "none"
	}
	common := []int{200, 401, 403, 404, 429, 503}
	switch status := resp.StatusCode; {
	case slices.Contains(common, status):
		return strconv.Itoa(status)
	case status >= 500:
		return "5xx"
	case status >= 400:
		return "4xx"
	}
	return "else"
}
