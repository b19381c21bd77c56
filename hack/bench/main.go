// SPDX-License-Identifier: Apache-2.0

// Bench measures the performance of tagpin and prints a table of figures and goals:
//
//	go run ./hack/bench
//	go run ./hack/bench -run 'P1 ' -duration 5s -cpuprofile warm.pprof
//
// The numbers P1 to P11 identify the figures. The speed of machines varies, so most figures are
// ratios to something that is measured in the same run. In most cases this is the floor, a webhook
// on the same controller-runtime server that decodes the review and responds with a constant patch.
//
// tagpin-webhook and the floor are separate processes. This process generates the load and serves
// an embedded registry. Bench also writes a file for benchstat. A missed goal is not an error.
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
	"slices"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tagpin/tagpin/hack/standalone"
)

// timeout limits the duration of all measurements after the build.
const timeout = 10 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctrllog.SetLogger(logr.Discard()) // without a logger, controller-runtime prints a warning
	if len(args) == 3 && args[0] == floorCommand {
		return serveFloor(ctx, args[1], args[2], stderr)
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

// settings has the values of the flags.
type settings struct {
	out        string
	only       *regexp.Regexp
	rounds     int
	round      time.Duration // duration of a round
	cpuProfile string
}

func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.out, "o", "bench.txt", "`file` to write in the format of Go benchmarks")
	only := fs.String("run", "",
		"measure the groups that `regexp` matches: "+groupNames()+" (default: all)")
	fs.IntVar(&s.rounds, "rounds", 9, "`number` of rounds; a figure is the median of all rounds")
	fs.DurationVar(&s.round, "duration", 800*time.Millisecond,
		"`duration` of the load on one server in a round")
	fs.StringVar(&s.cpuProfile, "cpuprofile", "",
		"write a CPU profile of tagpin-webhook under warm load to `file` (default: none)")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if s.only, err = regexp.Compile(*only); err != nil {
		return s, fmt.Errorf("-run: %w", err)
	}
	switch {
	case fs.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case !slices.ContainsFunc(groups(), func(g group) bool { return s.only.MatchString(g.name) }):
		return s, fmt.Errorf("-run %s: want a match for one of %s", *only, groupNames())
	case s.rounds < 1:
		return s, fmt.Errorf("-rounds %d: want at least 1", s.rounds)
	case s.round <= 0:
		return s, fmt.Errorf("-duration %s: want more than 0", s.round)
	}
	return s, nil
}

func measureAll(ctx context.Context, s settings, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tagpin-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := standalone.Build(ctx, dir, stderr); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fmt.Fprintln(stderr, "starting tagpin-webhook and the floor")
	st, err := newStage(ctx, dir)
	if err != nil {
		return err
	}
	defer st.close()
	r := &report{}
	for _, g := range groups() {
		if !s.only.MatchString(g.name) {
			continue
		}
		fmt.Fprintln(stderr, "measuring", g.name)
		if err := g.measure(ctx, st, s, r); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return errors.Join(r.print(stdout), r.write(s.out))
}
