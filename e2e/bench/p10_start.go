// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// start measures row P10 with an API server: the time until /readyz says that tagpin is ready. Its
// certificate is there.
func (b *bench) start(ctx context.Context) error {
	rounds := 7
	if b.quick {
		rounds = 2
	}
	var times []float64
	for range rounds {
		if err := b.Tagpin.Kill(); err != nil {
			return err
		}
		begin := time.Now()
		if err := b.Tagpin.Start(ctx); err != nil {
			return err
		}
		took := time.Since(begin).Seconds()
		times = append(times, took)
		b.report.Sample("StartInCluster", report.Of(took*1e3, "ms"))
	}
	b.report.AtMost("P10", "the same with an API server, until ready: s", report.Median(times), 1, "")
	return nil
}
