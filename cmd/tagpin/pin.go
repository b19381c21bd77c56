// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/tagpin/tagpin/pkg/amount"
)

const aboutPin = `Pins the images in files to the current digests of their tags, and prints the result.

` + aboutFiles + `

Only the text of image references changes; a Kustomization that has no digest gets a line for it,
and values without a key for a digest get tag: 1.25@sha256:…. A message names each image that tagpin
finds and can't pin, such as one in a kind whose pod template it does not know, in a patch, in
values that are a text, or in a parameter of Helm. If a kind that it does not know has several images
that are wholly in one text, tagpin pin names the first one and the number of the others, and says
how to name the kind in the config; tagpin help kinds has such a config.

With a ResourceList on stdin, tagpin pin is a KRM function for kustomize and kpt. Several files are
printed as one stream for kubectl, so only Kubernetes manifests are printed then; --write, --diff
and --check are for all files.

If a file that is named can't be read or an image can't be resolved, nothing is printed or written,
unless there is --keep-going. Files in a folder that can't be parsed are skipped with a message. If
something in a folder can't be read, or is one of the errors above, such as a link to a file outside
of the folder, the other files are pinned all the same, and the exit code is 2.`

// pinning has the flags of tagpin pin.
type pinning struct {
	engineFlags
	fileFlags

	write, diff, check, update, keepGoing bool
}

func newPinCommand(t terminal) *cobra.Command {
	var p pinning
	c := &cobra.Command{
		Use:   "pin [FILE | DIR | -]…",
		Short: "Pin the images in manifest files and the like",
		Long:  aboutPin,
		Example: "  tagpin pin --diff k8s/\n" +
			"  tagpin pin --write k8s/\n" +
			"  tagpin pin --write --update k8s/\n" +
			"  helm template my-chart | tagpin pin | kubectl apply -f -",
		RunE: func(c *cobra.Command, args []string) error {
			args, err := p.arguments(args, t)
			if err != nil {
				return err
			}
			if err := p.checkFlags(args, c.Flags()); err != nil {
				return err
			}
			return p.run(c.Context(), args, t)
		},
	}
	p.engineFlags.register(c.Flags(),
		"output, exemptImages, shortNames, templates, registries and network")
	p.fileFlags.register(c.Name(), c.Flags())
	c.Flags().BoolVar(&p.write, "write", false, "write the files in place")
	c.Flags().BoolVar(&p.diff, "diff", false,
		"print a diff instead of the files; the exit code is 1 if there is a difference")
	c.Flags().BoolVar(&p.check, "check", false,
		"print what would change, and change nothing; the exit code is 1 if anything would, and 2 if "+
			"a file, a folder or stdin has nothing that tagpin knows; it is 0 even if there are images "+
			"that can't be pinned, so this does not replace tagpin check, which also needs no registry")
	c.Flags().BoolVar(&p.update, "update", false,
		"also renew the digests of pins that have a tag")
	c.Flags().BoolVar(&p.keepGoing, "keep-going", false,
		"pin what can be pinned, even if a file can't be read or an image can't be resolved; the exit "+
			"code still says so")
	return c
}

// checkFlags returns an error for each mistake in the flags.
func (p *pinning) checkFlags(args []string, flags *pflag.FlagSet) error {
	errs := []error{p.engineFlags.checkFlags(), p.fileFlags.checkFlags()}
	if err := notTogether(flags, "write", "diff", "check"); err != nil {
		errs = append(errs, fmt.Errorf("pin: %w", err))
	}
	if p.write && slices.Contains(args, "-") {
		errs = append(errs, errors.New("pin: --write needs files; it can't write to stdin"))
	}
	return errors.Join(errs...)
}

// run pins the files. The lookups of a file begin when it has been parsed, while others are still
// read: they wait for registries, and the others need the processor.
func (p *pinning) run(ctx context.Context, args []string, t terminal) error {
	e, err := p.newEngine(ctx, t.complain)
	if err != nil {
		return err
	}
	defer e.close()
	s := p.find(ctx, args, t)
	limited, cancel := p.limit(ctx)
	e.answers.shown = newProgress("images", t)
	l := fileLookups{engine: e, update: p.update}
	defer l.running.Wait()
	defer cancel()
	p.parse(ctx, s, e.table, func(file *source) {
		if !p.prints() || file.file.Manifests() { // onlyStream drops others
			l.begin(limited, file)
		}
	}, t)
	if err := p.accept(ctx, s, t); err != nil {
		cancel() // lookups that have begun
		return p.nothing(err, slices.ContainsFunc(s.files, (*source).hasReferences), t)
	}
	for _, file := range s.files {
		l.begin(limited, file)
	}
	l.running.Wait()
	t.status("")
	r := s.collect(&e.pinner.Policy, t)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case len(r.failed) > 0 && !p.keepGoing:
		return p.nothing(
			ending(false, errors.Join(slices.Concat(s.unknown, s.unread)...), r.failed), s.edited(), t)
	}
	unread := slices.Concat(s.unknown, s.broken, s.unread)
	errs := append(unread, s.edit(t)...)
	if len(errs) > len(unread) && !p.keepGoing {
		return p.nothing(errors.Join(errs...), s.edited(), t)
	}
	found, err := p.output(ctx, s.files, t)
	end := ending(found, errors.Join(append(errs, err)...), r.failed)
	switch {
	case err != nil && p.write:
		return t.conclude(end, "wrote "+amount.Of(s.written(), "file"))
	case err != nil:
		return end
	}
	return t.conclude(end, r.summary(p, s))
}

// nothing returns the error of a command that has done nothing, because there is no --keep-going.
// rest reports whether there is something that it would pin with that.
func (p *pinning) nothing(err error, rest bool, t terminal) error {
	if !p.write || p.keepGoing || errors.Is(err, errInterrupted) {
		return err
	}
	summary := "nothing was written"
	if rest {
		summary += "; --keep-going pins the rest"
	}
	return t.conclude(err, summary)
}

// hasReferences reports whether a file has references that may have to be pinned.
func (s *source) hasReferences() bool { return len(s.file.Objects) > 0 }

// written returns the number of files that were written.
func (s *sources) written() (n int) {
	for _, file := range s.files {
		if file.written {
			n++
		}
	}
	return n
}

// edited reports whether a file has references to write.
func (s *sources) edited() bool {
	return slices.ContainsFunc(s.files, func(file *source) bool { return len(file.edits) > 0 })
}

// prints reports whether the pinned files are printed.
func (p *pinning) prints() bool { return !p.write && !p.diff && !p.check }

// accept returns an error if the files that were parsed can't be pinned. It drops those that can't
// be printed.
func (p *pinning) accept(ctx context.Context, s *sources, t terminal) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	for _, err := range s.unknown {
		if _, empty := errors.AsType[noInputError](err); empty && !p.allowNone {
			return err
		}
	}
	if !p.check || p.allowNone { // with --check, a wrong path must not pass
		for _, err := range s.unknown {
			t.complain(err)
		}
		s.unknown = nil
	}
	switch {
	case len(s.broken) > 0 && !p.keepGoing:
		return errors.Join(append(s.broken, s.unread...)...)
	case p.prints():
		return s.onlyStream(t)
	}
	return nil
}

// edit sets the pinned content of all files. If that fails for a file, edit drops it.
func (s *sources) edit(t terminal) (errs []error) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, file := range s.files {
		group.Go(func() error {
			file.err = file.catch(t, func() (err error) {
				file.pinned, err = file.file.Edit(file.edits)
				return err
			})
			return nil
		})
	}
	_ = group.Wait() // the errors are in the files
	s.files = slices.DeleteFunc(s.files, func(file *source) bool {
		if file.err != nil {
			errs = append(errs, file.err)
		}
		return file.err != nil
	})
	return errs
}
