// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tagpin/tagpin/e2e/attack"
	"github.com/tagpin/tagpin/hack/bench/report"
)

const (
	mebibyte = 1 << 20
	// memoryLimit is the chart's limit.
	memoryLimit = 256 * mebibyte
)

// attacks measures rows P16 and P17: what attacks with many credentials, stalled manifests and
// large objects make tagpin use, and how much later another tenant gets its answers meanwhile.
// tagpin runs in a cgroup with the memory limit of the chart, and starts again for each attack.
func (b *bench) attacks(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		b.report.Missing("P16", "attacks: peak memory", "needs root, to make a cgroup")
		b.report.Missing("P17", "attacks: p99 of another tenant", "needs root, to make a cgroup")
		return nil
	}
	path, args := b.Tagpin.Path, b.Tagpin.Args
	defer func() { // the other rows have no limit
		b.Tagpin.Path, b.Tagpin.Args = path, args
		err = errors.Join(err, b.restart(ctx))
	}()
	calm := 10 * time.Second
	if b.quick {
		calm = 3 * time.Second
	}
	before, err := b.limited(ctx, attack.None(calm), path, args)
	if err != nil {
		return err
	}
	for _, a := range []attack.Attack{
		attack.ManyCredentials(), attack.Stall(), attack.LargeReviews(),
	} {
		during, err := b.limited(ctx, a, path, args)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		b.reportAttack(a.Name, before, during)
	}
	return nil
}

// attacked is what was observed during the rounds of an attack.
type attacked struct {
	times []time.Duration // of the victim's deploys
	own   []time.Duration // the part of these times that tagpin needed
	kills int             // of tagpin
	peak  int64           // of tagpin's memory, in bytes
}

// limited attacks in rounds, with tagpin in a cgroup with the memory limit. path and args are those
// of tagpin.
func (b *bench) limited(
	ctx context.Context, a attack.Attack, path string, args []string,
) (all attacked, err error) {
	group, err := newMemoryGroup(fmt.Sprintf("tagpin-bench-%d-%s", os.Getpid(), a.Name), memoryLimit)
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, b.Tagpin.Kill(), group.remove()) }()
	b.Tagpin.Path, b.Tagpin.Args = group.command(path, args)
	rounds := 3
	if b.quick {
		rounds = 1
	}
	for range rounds {
		if err := b.restart(ctx); err != nil {
			return all, err
		}
		result, own, err := b.attack(ctx, a)
		if err != nil {
			return all, err
		}
		all.times, all.own = append(all.times, result.Times...), append(all.own, own...)
		if result.Failed+result.Unpinned > 0 {
			fmt.Fprintf(b.progress, "%s: the victim had %s\n", a.Name, result)
		}
		if b.Tagpin.Ready(ctx) != nil {
			all.kills++
		}
	}
	all.peak, err = group.peak()
	return all, err
}

func (b *bench) restart(ctx context.Context) error {
	return errors.Join(b.Tagpin.Kill(), b.Tagpin.Start(ctx))
}

func (b *bench) reportAttack(name string, before, during attacked) {
	mib := float64(during.peak) / mebibyte
	p99, own := percentile(during.times, 99), percentile(during.own, 99)
	p99Before := percentile(before.times, 99)
	b.report.Sample("Attack/"+name, report.Of(mib, "peak-MiB"),
		report.Of(p99Before.Seconds()*1e3, "before-p99-ms"), report.Of(p99.Seconds()*1e3, "p99-ms"),
		report.Of(own.Seconds()*1e3, "tagpin-p99-ms"))
	b.report.AtMost("P16", name+": peak memory in MiB, of 256", mib, 200, "")
	b.report.AtMost("P16", name+": times that tagpin was killed", float64(during.kills), 0, "")
	what := fmt.Sprintf("%s: p99 of another tenant ÷ without; in tagpin %s of %s", name, own,
		p99.Round(time.Millisecond))
	b.report.AtMost("P17", what, p99.Seconds()/p99Before.Seconds(), 2, "")
}

// attack has one tenant attack while another one deploys. own are the times that tagpin says it
// needed for the deploys.
func (b *bench) attack(
	ctx context.Context, a attack.Attack,
) (result attack.Result, own []time.Duration, err error) {
	pins := map[string]string{}
	for i := range 3 {
		tag := fmt.Sprintf("victim/app%d:1", i)
		digest, err := b.Open.PushImage(tag)
		if err != nil {
			return result, nil, err
		}
		image := b.Open.Host + "/" + tag
		pins[image] = image + "@" + digest
	}
	attacker, err := attack.NewTenant(ctx, b.place())
	if err != nil {
		return result, nil, err
	}
	defer func() { err = errors.Join(err, attacker.Close(context.WithoutCancel(ctx))) }()
	victim, err := attack.NewVictim(ctx, b.place(), pins)
	if err != nil {
		return result, nil, err
	}
	defer func() { err = errors.Join(err, victim.Close(context.WithoutCancel(ctx))) }()
	if result, err = attack.Run(ctx, a, attacker, victim); err != nil {
		return result, nil, err
	}
	own = admissions(b.Tagpin.Log(), victim.Namespace)
	if len(own) == 0 {
		return result, nil, errors.New("tagpin's log has no admission of the victim")
	}
	return result, own, nil
}

// admissions returns the times of the admissions of a namespace in tagpin's log.
func admissions(log, namespace string) (times []time.Duration) {
	for line := range strings.Lines(log) {
		var l struct {
			Msg, Namespace string
			MS             int64
		}
		err := json.Unmarshal([]byte(line), &l)
		if err == nil && l.Msg == "admission" && l.Namespace == namespace {
			times = append(times, time.Duration(l.MS)*time.Millisecond)
		}
	}
	return times
}

// place returns the cluster for attacks, which come from another address than the API server's.
func (b *bench) place() attack.Place {
	webhook, metrics, probes := b.Tagpin.Addresses()
	elsewhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}
	return attack.Place{
		Config: b.Config, CA: b.CA,
		Listen: func(ctx context.Context) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		},
		Dial: (&net.Dialer{LocalAddr: elsewhere}).DialContext,
		Ports: []attack.Port{
			{Name: "webhook", Address: webhook, TLS: true},
			{Name: "metrics", Address: metrics},
			{Name: "probes", Address: probes},
		},
	}
}

// percentile returns the duration that percent of all durations don't exceed.
func percentile(all []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
