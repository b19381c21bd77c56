// SPDX-License-Identifier: Apache-2.0

// Bench measures how fast tagpin is, and prints the goal beside each figure:
//
//	go run ./hack/bench
//	go run ./hack/bench -run 'P1 ' -duration 5s -cpuprofile warm.pprof
//
// Machines are noisy: a figure is a ratio to something measured in the same run, mostly the floor, which is a webhook on
// the same controller-runtime server that decodes the review and answers one fixed patch. tagpin-webhook and the floor are
// processes of their own; the load and an embedded registry share the machine with them. The table is for people, the
// file for benchstat. A goal that is missed is no error.
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
)

// longest is how long the measuring may take, whatever hangs. It begins when everything is built.
const longest = 10 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctrllog.SetLogger(logr.Discard()) // controller-runtime complains of having none
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

// settings are the flags.
type settings struct {
	out        string
	only       *regexp.Regexp
	rounds     int
	round      time.Duration
	cpuProfile string
}

func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.out, "o", "bench.txt", "`file` to write in the format of Go benchmarks")
	only := fs.String("run", "", "`regexp` of what to measure, found in one of: "+groupNames()+" (default: all)")
	fs.IntVar(&s.rounds, "rounds", 9, "`number` of rounds, of which the median counts")
	fs.DurationVar(&s.round, "duration", 800*time.Millisecond, "`time` of one round of load on one server")
	fs.StringVar(&s.cpuProfile, "cpuprofile", "", "`file` to write a profile of tagpin-webhook while it is warm to (default: none)")
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
		return s, fmt.Errorf("-run %s: found in none of %s", *only, groupNames())
	case s.rounds < 1:
		return s, fmt.Errorf("-rounds %d: want one at least", s.rounds)
	case s.round <= 0:
		return s, fmt.Errorf("-duration %s: want a time", s.round)
	}
	return s, nil
}

func measureAll(ctx context.Context, s settings, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tagpin-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(stderr, "building tagpin-webhook: minutes from empty caches, seconds after that")
	if err := buildWebhook(ctx, dir, stderr); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	fmt.Fprintln(stderr, "starting tagpin-webhook and the floor")
	st, err := newStage(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { st.close() }() // as it is then: it grows with each server
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
