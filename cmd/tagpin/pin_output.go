// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/printable"
)

// output writes or prints the pinned files. found reports whether there is a difference, if that is
// what the flags ask for.
func (p *pinning) output(ctx context.Context, files []*source, t terminal) (found bool, err error) {
	switch {
	case p.write:
		return false, writeFiles(ctx, files)
	case p.diff:
		return printDiff(files, t)
	case p.check:
		return printChanges(files, t)
	}
	return false, printAll(files, t)
}

// writeFiles writes the files that have changed.
func writeFiles(ctx context.Context, files []*source) error {
	var errs []error
	for _, s := range files {
		if bytes.Equal(s.data, s.pinned) {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(append(errs, fmt.Errorf("interrupted before %s and the files after it "+
				"were written; the others are complete", s.path))...)
		}
		err := s.write()
		s.written = err == nil
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// printChanges prints a line for each reference that would change, and reports whether any would.
func printChanges(files []*source, t terminal) (found bool, err error) {
	for _, s := range files {
		for _, e := range s.edits {
			line, column := e.Object.Position(e.Reference)
			found = true
			_, err := fmt.Fprintf(t.out, "%s: %s is to be %s\n", place(lineStart(s.file.Name), line, column),
				printable.Text(e.Reference.Text), printable.Text(e.Result()))
			if err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// onlyStream drops the files that can't be printed as one stream for kubectl. It returns an error
// if one of them is named.
func (s *sources) onlyStream(t terminal) error {
	var errs []error
	alone := len(s.files) == 1
	s.files = slices.DeleteFunc(s.files, func(file *source) bool {
		switch {
		case file.file.Manifests(), file.named && (alone || !file.file.Recognized()):
			return false
		case file.named:
			errs = append(errs, fmt.Errorf("%s: it is no Kubernetes manifest, so it can't be printed with "+
				"other files; use --write or --diff, or name it alone", file.file.Name))
		default:
			s.dropped++
		}
		return true
	})
	if s.dropped > 0 {
		t.complain(fmt.Errorf("%s; use --write or --diff", amount.Text(s.dropped,
			"file that is no Kubernetes manifest is not printed",
			"files that are no Kubernetes manifests are not printed")))
	}
	return errors.Join(errs...)
}

// printAll prints all files as one stream of YAML documents. A single file is printed unchanged.
func printAll(files []*source, t terminal) error {
	parts := make([][]byte, len(files))
	var errs []error
	for i, s := range files {
		parts[i] = s.pinned
		if len(files) > 1 {
			var err error
			if parts[i], err = manifest.Part(s.as, s.pinned); err != nil {
				errs = append(errs, fmt.Errorf("%s: it can't be printed in a stream with other files: %w; "+
					"use --write or --diff, or name it alone", s.file.Name, err))
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, part := range parts {
		if _, err := t.raw.Write(part); err != nil {
			return err
		}
	}
	return nil
}
