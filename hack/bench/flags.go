// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// settings has the values of the flags.
type settings struct {
	out        string
	rows       []string // if empty, all rows
	quick      bool
	rounds     int
	duration   time.Duration // of the load on one server in a round
	cpuProfile string
	benchstat  string
}

func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.out, "o", "", "`file` to write in the format of Go benchmarks; an earlier one "+
		"is renamed to *.old.txt (default: bench.txt, or none with -quick or -rows)")
	rows := flags.String("rows", "", "measure these `rows` only, such as P1,P15, and those that are "+
		"measured with them (default: all)")
	flags.BoolVar(&s.quick, "quick", false,
		"measure less, in two minutes: to see that everything works, not for figures")
	flags.IntVar(&s.rounds, "rounds", 9, "`number` of rounds; a figure is the median of all rounds")
	flags.DurationVar(&s.duration, "duration", 800*time.Millisecond,
		"`duration` of the load on one server in a round")
	flags.StringVar(&s.cpuProfile, "cpuprofile", "",
		"write a CPU profile of tagpin-webhook under warm load to `file` (default: none)")
	flags.StringVar(&s.benchstat, "benchstat", "",
		"`path` of benchstat, to compare with the former file (default: don't)")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.rows = strings.FieldsFunc(*rows, func(r rune) bool { return r == ',' || r == ' ' })
	if err := checkRows(s.rows); err != nil {
		return s, fmt.Errorf("-rows: %w", err)
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.rounds < 1:
		return s, fmt.Errorf("-rounds %d: want at least 1", s.rounds)
	case s.duration <= 0:
		return s, fmt.Errorf("-duration %s: want more than 0", s.duration)
	}
	if s.out == "" && !s.quick && len(s.rows) == 0 {
		s.out = "bench.txt"
	}
	if s.quick {
		s.rounds, s.duration = min(s.rounds, 2), min(s.duration, 200*time.Millisecond)
	}
	return s, nil
}
