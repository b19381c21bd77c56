// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// old returns the path of the former file.
func (s settings) old() string { return strings.TrimSuffix(s.out, ".txt") + ".old.txt" }

// write writes the file for benchstat, and keeps the former one.
func (s settings) write(r *report.Report) error {
	if s.out == "" {
		return nil
	}
	if err := os.Rename(s.out, s.old()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.Create(s.out)
	if err != nil {
		return err
	}
	return errors.Join(r.Write(out), out.Close())
}

// compare prints what benchstat says about the former file and the new one.
func (s settings) compare(ctx context.Context, stdout io.Writer) error {
	if s.out == "" || s.benchstat == "" {
		return nil
	}
	if _, err := os.Stat(s.old()); errors.Is(err, fs.ErrNotExist) {
		return nil // this is the first file
	}
	benchstat := exec.CommandContext(ctx, s.benchstat, s.old(), s.out)
	out, err := benchstat.CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchstat: %w\n%s", err, out)
	}
	_, err = fmt.Fprintf(stdout, "\n%s", out)
	return err
}
