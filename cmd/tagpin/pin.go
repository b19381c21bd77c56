// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/sync/errgroup"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

const aboutPin = `Pins the images in manifest files to the current digests of their tags, and prints the
result.

Reads stdin for - and if there is no argument. A file can have several YAML documents, JSON values
and lists. For a folder, all files *.yaml, *.yml and *.json in it and in its subfolders are read.
Only the text of image references changes. With a ResourceList on stdin, tagpin pin is a KRM
function for kustomize and kpt. If a file can't be read or an image can't be resolved, nothing is
written.

Flags:`

func runPin(ctx context.Context, args []string, t terminal) error {
	fs := newFlags("pin", "tagpin pin [--write | --diff] [--config FILE] [FILE, DIR, -]…", aboutPin)
	config := fs.String("config", "",
		"config `file` of the webhook: exemptions, kinds, registries, network")
	write := fs.Bool("write", false, "write the files in place")
	showDiff := fs.Bool("diff", false,
		"print a diff instead of the files; the exit code is 1 if there is a difference")
	files, err := parse(fs, args, t)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	switch {
	case *write && *showDiff:
		return errors.New("pin: --write and --diff can't be used together")
	case *write && slices.Contains(files, "-"):
		return errors.New("pin: --write needs files; it can't write to stdin")
	}
	sources, err := pinFiles(ctx, *config, files, t)
	switch {
	case err != nil:
		return err
	case *write:
		return writeFiles(sources, t.err)
	case *showDiff:
		return printDiff(sources, t.out)
	}
	return printAll(sources, t.out)
}

// pinFiles reads and pins the files. It resolves all images before the first file is written.
func pinFiles(
	ctx context.Context, config string, files []string, t terminal,
) ([]*source, error) {
	e, err := newEngine(config, t.complain)
	if err != nil {
		return nil, err
	}
	defer e.client.Close()
	sources, err := readAll(files, e.table, t.in)
	if err != nil {
		return nil, err
	}
	if err := resolveAll(ctx, e, sources, t); err != nil {
		return nil, exitError{exitLookup, err}
	}
	var errs []error
	for _, s := range sources {
		var err error
		s.pinned, err = s.stream.Edit(s.edits)
		errs = append(errs, err)
	}
	return sources, errors.Join(errs...)
}

// maxObjects limits how many objects are pinned concurrently. The config limits the requests to
// each registry.
const maxObjects = 256

// resolveAll resolves the references of all objects concurrently, and then sets the edits of the
// sources. The error describes every reference that could not be resolved, in the order of the
// files.
func resolveAll(ctx context.Context, e *engine, sources []*source, t terminal) error {
	var group errgroup.Group
	group.SetLimit(maxObjects)
	results := make([][]pin.Result, len(sources))
	for i, s := range sources {
		results[i] = make([]pin.Result, len(s.stream.Objects))
		for j, o := range s.stream.Objects {
			group.Go(func() error {
				results[i][j] = e.pinner.Pin(ctx, pin.Request{
					Input:     policy.Input{Operation: policy.Create, Object: o.Object},
					Namespace: o.Metadata.Namespace,
					Keychain:  func(workload.Identity) keychain.Keychain { return e.keychain },
				})
				return nil
			})
		}
	}
	errs := []error{group.Wait()}
	for i, s := range sources {
		for j, o := range s.stream.Objects {
			for _, outcome := range results[i][j].Outcomes {
				errs = append(errs, s.add(o, outcome, t))
			}
		}
	}
	return errors.Join(errs...)
}

// add adds the edit for a reference. It returns an error if the reference could not be resolved. If
// the reference is not valid, add prints a message.
func (s *source) add(object *manifest.Object, o pin.Outcome, t terminal) error {
	line, column := object.Position(o.Reference)
	at := fmt.Sprintf("%s:%d:%d", s.stream.Name, line, column)
	switch {
	case o.Err != nil:
		return fmt.Errorf("%s: %s: %w", at, o.Reference.Text, o.Err)
	case o.Reason == policy.Invalid:
		t.complain(fmt.Errorf("%s: %w; it was not changed", at, o.ParseErr))
	case !o.Pin.IsZero():
		s.edits = append(s.edits, manifest.Edit{
			Object: object, Reference: o.Reference, Text: o.Pin.String(),
		})
	}
	return nil
}

// writeFiles writes the files that have changed, and prints the number of their pins.
func writeFiles(sources []*source, out io.Writer) error {
	var errs []error
	for _, s := range sources {
		if bytes.Equal(s.data, s.pinned) {
			continue
		}
		err := replace(s.path, s.pinned)
		errs = append(errs, err)
		if err == nil {
			fmt.Fprintf(out, "%s: %d pinned\n", s.stream.Name, len(s.edits))
		}
	}
	return errors.Join(errs...)
}

// printDiff prints a diff of the files. The exit code is exitFound if that is not empty.
func printDiff(sources []*source, out io.Writer) error {
	var result error
	for _, s := range sources {
		name := strings.TrimPrefix(filepath.ToSlash(s.stream.Name), "/")
		d := diff.Diff("a/"+name, s.data, "b/"+name, s.pinned)
		if len(d) == 0 {
			continue
		}
		result = exitError{code: exitFound}
		if _, err := out.Write(d); err != nil {
			return err
		}
	}
	return result
}

// printAll prints all files as one stream of YAML documents. A single file is printed unchanged.
func printAll(sources []*source, out io.Writer) error {
	for i, s := range sources {
		data := s.pinned
		if i > 0 && !bytes.HasPrefix(data, []byte("---")) {
			data = append([]byte("---\n"), data...)
		}
		if i+1 < len(sources) && len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
		if _, err := out.Write(data); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}
