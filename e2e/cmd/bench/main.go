// SPDX-License-Identifier: Apache-2.0

// Command bench measures the rows of make bench that need an API server, and prints them to stdout
// as JSON, for hack/bench:
//
//	cd e2e && go run ./cmd/bench -rows P8 -quick
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tagpin/tagpin/e2e/bench"
	"github.com/tagpin/tagpin/e2e/interrupt"
)

func main() {
	ctx, stop := interrupt.Context()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	rows := fs.String("rows", "", "measure these `rows` only, such as P7,P8 (default: all)")
	var o bench.Options
	fs.BoolVar(&o.Quick, "quick", false, "measure less: to see that everything works")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o.Rows = strings.FieldsFunc(*rows, func(r rune) bool { return r == ',' })
	report, err := bench.Run(ctx, stderr, o)
	return errors.Join(err, json.NewEncoder(stdout).Encode(report))
}
