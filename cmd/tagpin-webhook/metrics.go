// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry returns a registry with the metrics of the process. The metrics of the webhook server
// are in controller-runtime's registry, which is a global.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_build_info",
		Help: "1, with the versions of tagpin and Go that the server was built from.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(moduleVersion(), runtime.Version()).Set(1)
	r.MustRegister(build, collectors.NewBuildInfoCollector(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
