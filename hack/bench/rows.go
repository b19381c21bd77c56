// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// group is a group of rows that are measured together.
type group struct {
	rows    []string // their names, as in README.md
	measure func(context.Context, *stage, *report.Report) error
}

func (g group) String() string { return strings.Join(g.rows, ", ") }

func groups() []group {
	return []group{
		{[]string{"P1", "P2", "P3", "P15"}, warm},
		{[]string{"P4"}, cold},
		{[]string{"P5"}, firstPod},
		{[]string{"P6"}, burst},
		{[]string{"P9"}, memory},
		{[]string{"P10"}, start},
		{[]string{"P11"}, allocations},
		{[]string{"P12"}, growth},
		{[]string{"P13"}, blackhole},
		{[]string{"P14"}, pinMany},
		{clusterRows(), inCluster},
	}
}

// checkRows returns an error if one of the rows does not exist.
func checkRows(rows []string) error {
	var all []string
	for _, g := range groups() {
		all = append(all, g.rows...)
	}
	for _, row := range rows {
		if !slices.Contains(all, row) {
			return fmt.Errorf("there is no row %q", row)
		}
	}
	return nil
}
