// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// clusterRows are the rows that need an API server. Row P10 is also measured without one.
func clusterRows() []string { return []string{"P7", "P8", "P10", "P16", "P17", "P18"} }

// inCluster measures the rows that need an API server with a program of module e2e, which may use
// all cores. The first time, it builds Kubernetes, which takes minutes.
func inCluster(ctx context.Context, st *stage, r *report.Report) error {
	args := []string{"-rows", strings.Join(st.wanted(clusterRows()), ",")}
	if st.quick {
		args = append(args, "-quick")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(st.dir, clusterProgram), args...)
	cmd.Dir = "e2e"
	// The program has to stop the cluster.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	var stdout strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, st.progress
	err := st.everywhere(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	var part report.Report
	if e := json.Unmarshal([]byte(stdout.String()), &part); e != nil && err == nil {
		err = e
	}
	r.Add(part) // what was measured before an error
	if err != nil {
		return fmt.Errorf("measuring in a cluster: %w", err)
	}
	return nil
}

// clusterProgram is the name of the program of module e2e.
const clusterProgram = "cluster-bench"

// buildForCluster builds that program into dir.
func buildForCluster(ctx context.Context, dir string, progress io.Writer) error {
	fmt.Fprintln(progress, "building the program that measures in a cluster")
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, clusterProgram),
		"./cmd/bench")
	build.Dir = "e2e"
	// As the Makefile builds that module, so that Kubernetes is compiled once.
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	build.Stderr = progress
	if err := build.Run(); err != nil {
		return errors.Join(errors.New("building e2e/cmd/bench"), err)
	}
	return nil
}

// wanted returns those of the rows that the flags ask for.
func (s settings) wanted(rows []string) []string {
	if len(s.rows) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row string) bool {
		return !slices.Contains(s.rows, row)
	})
}
