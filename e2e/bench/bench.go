// SPDX-License-Identifier: Apache-2.0

// Package bench measures tagpin in a cluster: the rows of hack/bench that need an API server. There
// are no tests in it that depend on time.
//
//	report, err := bench.Run(ctx, os.Stderr, bench.Options{})
//
// hack/bench/README.md says what the rows mean.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/hack/bench/report"
)

// Options say what is measured.
type Options struct {
	Rows  []string // such as P7; if empty, all rows
	Quick bool     // whether to measure less, to see that everything works
}

// bench is a cluster in which rows are measured.
type bench struct {
	*cluster.Cluster
	quick    bool
	progress io.Writer
	report   report.Report
}

// group is a group of rows that are measured together.
type group struct {
	rows        []string
	controllers bool // whether controllers and nodes must run; they never end
	measure     func(*bench, context.Context) error
}

// groups returns the groups in the order in which they are measured: first those that the
// controllers would disturb.
func groups() []group {
	return []group{
		{[]string{"P10"}, false, (*bench).start},
		{[]string{"P8"}, false, (*bench).podsPerSecond},
		{[]string{"P16", "P17"}, false, (*bench).attacks},
		{[]string{"P7"}, true, (*bench).deployments},
		{[]string{"P18"}, true, (*bench).manyPods},
	}
}

// nodes is the number of nodes. Each may have 1,000 pods.
const nodes = 12

// limit bounds all measurements. It does not include builds.
const limit = 20 * time.Minute

// Run starts a cluster, measures, and stops it. It reports what it does to progress. If a row can't
// be measured, the report has the others.
func Run(ctx context.Context, progress io.Writer, o Options) (r report.Report, err error) {
	c, err := cluster.Start(ctx, progress)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	b := &bench{Cluster: c, quick: o.Quick, progress: progress}
	err = b.measure(ctx, o.Rows)
	return b.report, err
}

// measure measures the groups that have one of the rows, or all groups if there are no rows.
func (b *bench) measure(ctx context.Context, rows []string) error {
	var errs []error
	controllers := false
	wanted := func(row string) bool { return len(rows) == 0 || slices.Contains(rows, row) }
	for _, g := range groups() {
		if !slices.ContainsFunc(g.rows, wanted) {
			continue
		}
		if g.controllers && !controllers {
			controllers = true
			if err := b.StartControllers(ctx, nodes); err != nil {
				return errors.Join(append(errs, err)...)
			}
		}
		fmt.Fprintln(b.progress, "measuring", g.rows)
		if err := g.measure(b, ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", g.rows, err))
		}
	}
	return errors.Join(errs...)
}
