// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// pinMany measures row P14: the command tagpin pin on 1,000 manifests of 50 images. It is compared
// with the same command on manifests that are pinned, which only reads them, and one round trip.
// The registry requires no token.
func pinMany(ctx context.Context, st *stage, r *report.Report) error {
	p, err := st.newPinning(ctx)
	if err != nil {
		return err
	}
	st.images.delay.Store(int64(roundTrip))
	defer st.images.delay.Store(0)
	var ratios []float64
	for range st.rounds {
		trip, err := st.trip(ctx, openPrefix+"app0", "1")
		if err != nil {
			return err
		}
		reading, err := p.run(ctx, p.pinned)
		if err != nil {
			return err
		}
		pinning, err := p.run(ctx, p.unpinned)
		if err != nil {
			return err
		}
		ratio := pinning.Seconds() / (reading + trip).Seconds()
		ratios = append(ratios, ratio)
		r.Sample("PinMany", report.Of(ms(pinning), "ms"), report.Of(ms(reading), "pinned-ms"),
			report.Of(ms(trip), "roundtrip-ms"), report.Of(ratio, "time/floor"))
	}
	r.AtMost("P14", "tagpin pin of 1,000 manifests, 50 images ÷ reading them and one round trip",
		report.Median(ratios), 1.5, "")
	return nil
}

// pinning has two folders with the same manifests, which are pinned in one of them.
type pinning struct {
	st                       *stage
	config, unpinned, pinned string
}

func (st *stage) newPinning(ctx context.Context) (p pinning, err error) {
	const files, images = 1000, 50
	p = pinning{
		st: st, config: filepath.Join(st.dir, "pin.yaml"),
		unpinned: filepath.Join(st.dir, "unpinned"), pinned: filepath.Join(st.dir, "pinned"),
	}
	text := fmt.Appendf(nil, pinConfig, st.registry, filepath.Join(st.dir, "tls.crt"))
	if err := os.WriteFile(p.config, text, 0o600); err != nil {
		return p, err
	}
	for _, dir := range []string{p.unpinned, p.pinned} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return p, err
		}
	}
	for i := range images {
		if err := st.images.push(ctx, fmt.Sprint(openPrefix, "app", i), "1"); err != nil {
			return p, err
		}
	}
	for i := range files {
		image := fmt.Sprintf("%s/%sapp%d:1", st.registry, openPrefix, i%images)
		name := fmt.Sprint(i, ".yaml")
		for file, image := range map[string]string{
			filepath.Join(p.unpinned, name): image,
			filepath.Join(p.pinned, name):   image + "@sha256:" + strings.Repeat("0", 64),
		} {
			if err := os.WriteFile(file, manifest(i, image), 0o600); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// pinConfig has limits of the registry that don't slow the command down.
const pinConfig = `apiVersion: tagpin.dev/v1alpha1
kind: Config
network: {allow: ["127.0.0.0/8"]}
registries:
- {host: %q, caFile: %q, requestsPerSecond: 100000, maxInFlight: 256}
`

// manifest returns a Deployment with comments.
func manifest(i int, image string) []byte {
	return fmt.Appendf(nil, `apiVersion: apps/v1
kind: Deployment
metadata: {name: d%d, labels: {app: d}}
spec:
  template:
    spec:
      containers:
      - name: a
        image: %s
%s`, i, image, strings.Repeat("        # a comment, as there are many\n", 20))
}

// run returns how long tagpin pin takes for a folder.
func (p pinning) run(ctx context.Context, dir string) (took time.Duration, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.st.dir, "tagpin"),
		"pin", "--config", p.config, dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	begin := time.Now()
	if err = p.st.asServer(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return 0, fmt.Errorf("tagpin pin: %w\n%s", err, stderr.String())
	}
	return time.Since(begin), nil
}
