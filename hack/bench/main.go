// SPDX-License-Identifier: Apache-2.0

// Command bench measures how fast tagpin is, and prints the goal beside each figure.
//
// Machines are noisy: a figure is a ratio to something measured in the same run, mostly the floor, which is a webhook on
// the same controller-runtime server that decodes the review and answers one fixed patch. Load and servers share the
// machine. What it prints is for people; what it writes to a file is for benchstat.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	out    string
	only   *regexp.Regexp
	rounds int
	round  time.Duration
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 3 && args[0] == floorCommand {
		return serveFloor(ctx, args[1], args[2], stderr)
	}
	var s settings
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.out, "o", "bench.txt", "`file` to write in the format of Go benchmarks")
	only := fs.String("run", "", "`regexp` of what to measure, by its number: P1|P2 (default: all)")
	fs.IntVar(&s.rounds, "rounds", 6, "`number` of rounds of load on each server, in turn")
	fs.DurationVar(&s.round, "duration", 1200*time.Millisecond, "`time` of a round")
	if fs.Parse(args) != nil {
		return 2
	}
	var err error
	if s.only, err = regexp.Compile(*only); err != nil || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "bench: bad arguments:", err, fs.Args())
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
	fmt.Fprintln(stderr, "building and starting tagpin-webhook and the floor")
	st, err := newStage(ctx, dir)
	if err != nil {
		return err
	}
	defer st.close()
	r := &report{}
	for _, m := range []struct {
		ids     string
		measure func(context.Context, *stage, settings, *report) error
	}{
		{"P1 P2 P3", warm}, {"P4", cold}, {"P6", burst}, {"P11", allocations},
	} {
		if !s.only.MatchString(m.ids) {
			continue
		}
		fmt.Fprintln(stderr, "measuring", m.ids)
		if err := m.measure(ctx, st, s, r); err != nil {
			return fmt.Errorf("%s: %w", m.ids, err)
		}
	}
	r.print(stdout)
	return r.write(s.out)
}
