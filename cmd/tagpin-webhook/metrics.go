// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry is a registry of tagpin's own metrics and the process's. Those of the webhook server are in
// controller-runtime's, which is a global and served beside it.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_build_info",
		Help: "1, with the version of tagpin and of Go that the server was built from.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(moduleVersion(), runtime.Version()).Set(1)
	r.MustRegister(build, collectors.NewBuildInfoCollector(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// reloads counts changes of the config file.
type reloads struct {
	changes *prometheus.CounterVec
	current prometheus.Gauge
}

func newReloads(r prometheus.Registerer) *reloads {
	m := &reloads{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_config_reloads_total",
			Help: "Changes of the config file, by result: ok, or refused where the last good one stays.",
		}, []string{"result"}),
		current: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tagpin_config_last_reload_successful",
			Help: "1 where the config file is what the server runs by; 0 where it was refused, and the last good one stays.",
		}),
	}
	r.MustRegister(m.changes, m.current)
	m.changes.WithLabelValues("ok")
	m.changes.WithLabelValues("refused")
	m.current.Set(1)
	return m
}

// count counts a change: err is why it was refused.
func (m *reloads) count(err error) {
	result, current := "ok", 1.0
	if err != nil {
		result, current = "refused", 0
	}
	m.changes.WithLabelValues(result).Inc()
	m.current.Set(current)
}
