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
	"sync"

	"github.com/rogpeppe/go-internal/diff"

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
written.`

// pinning has the flags of tagpin pin.
type pinning struct {
	config      string
	write, diff bool
}

func runPin(ctx context.Context, args []string, t terminal) error {
	var p pinning
	fs := newFlags("pin", "tagpin pin [--write | --diff] [--config FILE] [FILE, DIR, -]…", aboutPin)
	fs.StringVar(&p.config, "config", "",
		"config `file` of the webhook: exemptions, kinds, registries, network")
	fs.BoolVar(&p.write, "write", false, "write the files in place")
	fs.BoolVar(&p.diff, "diff", false,
		"print a diff instead of the files; the exit code is 1 if there is a difference")
	if err := parse(fs, args, t); err != nil {
		return err
	}
	files := fs.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	switch {
	case p.write && p.diff:
		return errors.New("pin: --write and --diff can't be used together")
	case p.write && slices.Contains(files, "-"):
		return errors.New("pin: --write needs files; it can't write to stdin")
	}
	e, err := newEngine(p.config, t.complain)
	if err != nil {
		return err
	}
	defer e.client.Close()
	sources, err := readAll(files, e.table, t.in)
	if err != nil {
		return err
	}
	return p.pin(ctx, e, sources, t)
}

// pin resolves all images before it writes the first file.
func (p *pinning) pin(ctx context.Context, e *engine, sources []*source, t terminal) error {
	edits, err := editsOf(resolveAll(ctx, e, sources), t)
	if err != nil {
		return lookupError{err}
	}
	pinned := make([][]byte, len(sources))
	var errs []error
	for i, s := range sources {
		var err error
		pinned[i], err = s.stream.Edit(edits[i])
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	switch {
	case p.write:
		return writeFiles(sources, pinned, edits, t)
	case p.diff:
		return printDiff(sources, pinned, t.out)
	}
	return printAll(pinned, t.out)
}

// outcome is the result for one reference, and the object and the source that contain it.
type outcome struct {
	source int // index of the source
	object *manifest.Object
	pin.Outcome
}

// maxObjects limits how many objects are pinned concurrently. The config limits the requests to
// each registry.
const maxObjects = 256

// resolveAll resolves the references of all objects concurrently. It returns the outcomes in the
// order of the files.
func resolveAll(ctx context.Context, e *engine, sources []*source) []outcome {
	type job struct {
		source int
		object *manifest.Object
		result pin.Result
	}
	var jobs []*job
	for i, s := range sources {
		for _, o := range s.stream.Objects {
			jobs = append(jobs, &job{source: i, object: o})
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxObjects)
	for _, j := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			j.result = e.pinner.Pin(ctx, pin.Request{
				Input:     policy.Input{Operation: policy.Create, Object: j.object.Object},
				Namespace: j.object.Metadata.Namespace,
				Keychain:  func(workload.Identity) keychain.Keychain { return e.keychain },
			})
		})
	}
	wg.Wait()
	var all []outcome
	for _, j := range jobs {
		for _, o := range j.result.Outcomes {
			all = append(all, outcome{j.source, j.object, o})
		}
	}
	return all
}

// editsOf returns the edits of each source, by its index. The error describes every reference that
// could not be resolved. For a reference that is not valid, editsOf prints a message and does not
// return an edit.
func editsOf(all []outcome, t terminal) (map[int][]manifest.Edit, error) {
	edits := map[int][]manifest.Edit{}
	var errs []error
	for _, o := range all {
		switch {
		case o.Err != nil && o.Action == policy.Resolve:
			errs = append(errs, fmt.Errorf("%s: %s: %w", o.position(), o.Reference.Text, o.Err))
		case o.Reason == policy.Invalid:
			t.complain(fmt.Errorf("%s: %w; it was not changed", o.position(), o.ParseErr))
		case !o.Pin.IsZero():
			edits[o.source] = append(edits[o.source], manifest.Edit{
				Object: o.object, Reference: o.Reference, Text: o.Pin.String(),
			})
		}
	}
	return edits, errors.Join(errs...)
}

// position returns the position of the reference as file:line:column.
func (o *outcome) position() string {
	line, column := o.object.Position(o.Reference)
	return fmt.Sprintf("%s:%d:%d", o.object.File(), line, column)
}

func writeFiles(
	sources []*source, pinned [][]byte, edits map[int][]manifest.Edit, t terminal,
) error {
	var errs []error
	for i, s := range sources {
		if bytes.Equal(s.data, pinned[i]) {
			continue
		}
		if err := replace(s.path, pinned[i]); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(t.err, "%s: %d pinned\n", s.name, len(edits[i]))
	}
	return errors.Join(errs...)
}

func printDiff(sources []*source, pinned [][]byte, out io.Writer) (err error) {
	for i, s := range sources {
		name := strings.TrimPrefix(filepath.ToSlash(s.name), "/")
		d := diff.Diff("a/"+name, s.data, "b/"+name, pinned[i])
		if len(d) == 0 {
			continue
		}
		err = errDifferent
		if _, err := out.Write(d); err != nil {
			return err
		}
	}
	return err
}

// printAll prints all files as one stream of YAML documents. A single file is printed unchanged.
func printAll(pinned [][]byte, out io.Writer) error {
	for i, data := range pinned {
		if i > 0 && !bytes.HasPrefix(data, []byte("---")) {
			data = append([]byte("---\n"), data...)
		}
		if i+1 < len(pinned) && len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
		if _, err := out.Write(data); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}
