// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/forward"
	"github.com/tagpin/tagpin/hack/bench/report"
)

// replicasLabel is the label of namespaces whose pods go to three replicas.
const replicasLabel = "bench.tagpin.dev/replicas"

// manyPods measures row P18: whether the cost of a pod stays the same while the pods of 500
// Deployments become many. Three replicas of tagpin serve them by turns, as behind a Service. The
// figures are those of the pods since the former number.
func (b *bench) manyPods(ctx context.Context) (err error) {
	apps, steps := 500, []int{100, 1000, 10_000}
	if b.quick {
		apps, steps = 50, []int{50, 200}
	}
	replicas, stop, err := b.startReplicas(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	f, err := b.newFleet(ctx, "many", apps, replicasLabel)
	if err != nil {
		return err
	}
	var costs []cost
	created := 0
	for _, pods := range steps {
		c, err := f.grow(ctx, replicas, apps, created, pods)
		if err != nil {
			return fmt.Errorf("%d pods: %w", pods, err)
		}
		b.report.Sample(fmt.Sprintf("ManyPods/%d", pods), c.values()...)
		costs, created = append(costs, c), pods
	}
	if err := f.checkPinned(ctx, created); err != nil {
		return err
	}
	first, last := costs[0], costs[len(costs)-1]
	what := fmt.Sprintf("%d pods, 3 replicas, goal as with %d: ", created, steps[0])
	b.report.AtMost("P18", what+"requests to the registry per pod", last.requests, first.requests, "")
	b.report.AtMost("P18", what+"API reads per pod", last.reads, first.reads, "")
	b.report.AtMost("P18", what+"memory of a replica per pod in MiB", last.memory, first.memory, "")
	// The p99 is a ratio, which may be a little higher by chance.
	b.report.AtMost("P18", fmt.Sprintf("p99 of an admission, %d pods ÷ %d", created, steps[0]),
		last.p99/first.p99, 1.2, "")
	return nil
}

// cost is what new pods have cost.
type cost struct {
	requests, reads, memory float64 // for one pod; memory in MiB of the largest replica
	p99                     float64 // of their admissions, in seconds
}

func (c cost) values() []report.Value {
	return []report.Value{
		report.Of(c.requests, "requests/pod"), report.Of(c.reads, "reads/pod"),
		report.Of(c.memory*1024, "KiB/pod"), report.Of(c.p99*1e3, "p99-ms"),
	}
}

// grow scales the Deployments until there are as many pods as to says, and returns what the new
// ones have cost.
func (f *fleet) grow(
	ctx context.Context, replicas []*cluster.Tagpin, apps, from, to int,
) (c cost, err error) {
	before, err := observe(ctx, replicas)
	if err != nil {
		return c, err
	}
	lookups := f.lookups("many", apps)
	used := min(apps, to)
	if err := f.scale(ctx, used, to/used); err != nil {
		return c, err
	}
	after, err := observe(ctx, replicas)
	if err != nil {
		return c, err
	}
	added, durations := float64(to-from), after.durations.since(before.durations)
	if durations[math.Inf(1)] == 0 {
		return c, errors.New("tagpin has admitted nothing")
	}
	return cost{
		requests: float64(f.lookups("many", apps)-lookups) / added,
		reads:    (after.reads - before.reads) / added,
		memory:   after.memory / float64(to),
		p99:      durations.quantile(0.99),
	}, nil
}

// observation is what replicas say about themselves.
type observation struct {
	reads     float64   // from the API server, of all replicas
	memory    float64   // resident, in MiB, of the replica with the most
	durations histogram // of admissions, of all replicas
}

func observe(ctx context.Context, replicas []*cluster.Tagpin) (o observation, err error) {
	o.durations = histogram{}
	for _, r := range replicas {
		reads, err := r.Metric(ctx, apiRequests, `method="GET"`)
		if err != nil {
			return o, err
		}
		page, err := r.MetricsPage(ctx)
		if err != nil {
			return o, err
		}
		memory, err := resident(r.PID())
		if err != nil {
			return o, err
		}
		o.reads, o.memory = o.reads+reads, max(o.memory, memory)
		if err := o.durations.add(page, "tagpin_admission_duration_seconds"); err != nil {
			return o, err
		}
	}
	return o, nil
}

// startReplicas starts three replicas, and a listener that passes connections on to them by turns,
// as a Service does, with a registration for it.
func (b *bench) startReplicas(ctx context.Context) (
	all []*cluster.Tagpin, stop func() error, err error,
) {
	var turn atomic.Int64
	var service *forward.Forward
	stop = func() error {
		var errs []error
		if service != nil {
			service.Stop()
		}
		for _, r := range all {
			errs = append(errs, r.Kill())
		}
		return errors.Join(errs...)
	}
	for i := range 3 {
		r, err := b.StartCopy(ctx, fmt.Sprint("replica", i))
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		all = append(all, r)
	}
	service, err = forward.Start(ctx, func(ctx context.Context) (net.Conn, error) {
		r := all[int(turn.Add(1))%len(all)]
		d := net.Dialer{Timeout: time.Second}
		return d.DialContext(ctx, "tcp", r.Address())
	})
	if err == nil {
		err = b.InstallCopy(ctx, "zz-replicas", replicasLabel, "https://"+service.Address)
	}
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return all, stop, nil
}
