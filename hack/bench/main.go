// SPDX-License-Identifier: Apache-2.0

// Bench measures the performance of tagpin and prints a table of figures and goals:
//
//	go run ./hack/bench
//	go run ./hack/bench -rows P1,P15 -duration 5s -cpuprofile warm.pprof
//
// README.md says what each row means. The speed of machines varies, so most figures are ratios to
// something that is measured in the same run: the floor, which is a webhook on controller-runtime
// that decodes the review, or the raw server, which is net/http and little else. Both respond with
// a constant patch.
//
// tagpin-webhook, the floor and the raw server are separate processes. This process generates the
// load and serves an embedded registry. Bench also writes a file for benchstat. A missed goal is
// not an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tagpin/tagpin/hack/bench/baseline"
	"github.com/tagpin/tagpin/hack/bench/report"
	"github.com/tagpin/tagpin/hack/standalone"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctrllog.SetLogger(logr.Discard()) // without a logger, controller-runtime prints a warning
	if baseline.Is(args) {
		if err := baseline.Serve(ctx, args); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return 1
		}
		return 0
	}
	s, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	if err := measureAll(ctx, s, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func measureAll(ctx context.Context, s settings, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tagpin-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := build(ctx, s, dir, stderr); err != nil {
		return err
	}
	c, err := findCores()
	if err != nil {
		return err
	}
	fmt.Fprintln(stderr, c)
	if err := c.pinLoad(); err != nil {
		return fmt.Errorf("moving this process to core %d: %w", c.load, err)
	}
	st, err := newStage(ctx, s, c, dir, stderr)
	if err != nil {
		return err
	}
	defer st.close(0)
	r := &report.Report{}
	failed := st.measure(ctx, r)
	r.Sort()
	if err := errors.Join(failed, r.Print(stdout)); err != nil {
		return err // the file of the former run is worth more than a part of this one
	}
	if err := s.write(r); err != nil {
		return err
	}
	return s.compare(ctx, stdout)
}

// measure measures all groups of rows that the flags ask for, also if some of them fail.
func (st *stage) measure(ctx context.Context, r *report.Report) error {
	var errs []error
	for _, g := range groups() {
		if len(st.wanted(g.rows)) == 0 || ctx.Err() != nil {
			continue
		}
		fmt.Fprintln(st.progress, "measuring", g)
		running := len(st.stops)
		if err := g.measure(ctx, st, r); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", g, err))
		}
		st.close(running)
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// build builds the programs that the rows need into dir.
func build(ctx context.Context, s settings, dir string, progress io.Writer) error {
	for _, program := range []string{"tagpin-webhook", "tagpin"} {
		if err := standalone.Build(ctx, dir, program, progress); err != nil {
			return err
		}
	}
	if len(s.wanted(clusterRows())) == 0 {
		return nil
	}
	return buildForCluster(ctx, dir, progress)
}
