// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/image"
	"github.com/tagpin/tagpin/pkg/printable"
	"github.com/tagpin/tagpin/pkg/ref"
)

const aboutInspect = `Prints what an image is made of: the index, the manifest of each platform, configs and layers, with
their digests, sizes and media types, and what was attached to the image, such as signatures and
SBOMs. Of environment variables only the names are printed. Signatures are not verified.

Signatures and other attachments are looked up by the registry's list of referrers, by the tag that
stands for that list in older registries, and by the tags of cosign. No URL that a manifest names is
asked, and only --files reads a layer.

Other flags print one thing of the image instead, for scripts:

  --raw           the exact bytes of the manifest or index, which have the image's digest
  --image-config  the exact bytes of the config object
  --files LAYER   the files of a layer, by its number in the tree or the beginning of its digest;
                  the layer is read once, and nothing of it is kept
  --tags          the tags of the repository that point at the image's digest (see --limit)

If an index has several images, --image-config and --files need --platform, which chooses as
containerd does: without an image for linux/arm/v7, that for linux/arm/v6. An image without an
index has a single manifest, which is taken as it is, even if it is for another platform. Exit code
3 means that something was not looked up; what was found is printed all the same.`

const exampleInspect = `  tagpin inspect nginx:1.25
  tagpin inspect --platform linux/arm64 --image-config nginx:1.25
  tagpin inspect --raw nginx:1.25 | sha256sum
  tagpin inspect --tags ghcr.io/org/app@sha256:…`

// inspecting has the flags of tagpin inspect.
type inspecting struct {
	reading

	raw     bool
	object  bool
	files   string
	tags    bool
	maxTags int
}

func newInspectCommand(t terminal) *cobra.Command {
	var i inspecting
	c := &cobra.Command{
		Use:     "inspect IMAGE",
		Short:   "Print what an image is made of",
		Long:    aboutInspect,
		Example: exampleInspect,
		RunE: func(c *cobra.Command, args []string) error {
			reference, err := i.parse(args, c.Flags(), t)
			if err != nil {
				return err
			}
			return i.run(c.Context(), reference, t)
		},
	}
	i.register(c.Flags(), "print only the image for a `platform`, such as linux/arm64 or "+
		"linux/arm/v7, if there is an index")
	c.Flags().BoolVar(&i.raw, "raw", false, "print the exact bytes of the manifest or index")
	c.Flags().BoolVar(&i.object, "image-config", false, "print the exact bytes of the config object")
	c.Flags().StringVar(&i.files, "files", "",
		"print the files of a `layer`: its number, or the beginning of its digest")
	c.Flags().BoolVar(&i.tags, "tags", false, "print the tags that point at the image's digest")
	c.Flags().IntVar(&i.maxTags, "limit", 1000, "with --tags, look up at most `N` tags, from the end "+
		"of the registry's list; no limit applies where the list has the digest of each tag")
	return c
}

func (i *inspecting) run(ctx context.Context, reference ref.Reference, t terminal) error {
	ctx, done, err := i.start(ctx, []ref.Reference{reference}, t)
	if err != nil {
		return err
	}
	defer done()
	if i.tags {
		return i.printTags(ctx, reference, t)
	}
	root, err := i.reader.Open(ctx, reference, i.chosen)
	if err != nil {
		return ofImage(reference, advised(err, t.program))
	}
	switch {
	case i.raw:
		_, err = t.raw.Write(root.Body)
		return err
	case i.object:
		return i.printConfig(ctx, reference, root, t)
	case i.files != "":
		return i.printFiles(ctx, reference, root, t)
	}
	tree, err := i.reader.Tree(ctx, root)
	return errors.Join(i.printTree(reference, tree, t), ofImage(reference, err))
}

// ofImage returns the error of a lookup with the image that was asked for, or nil. That a result
// could not be written is no error of the image.
func ofImage(reference ref.Reference, err error) error {
	if err == nil {
		return nil
	}
	if write := (writeError{}); errors.As(err, &write) {
		return write
	}
	if exit := (exitError{}); errors.As(err, &exit) {
		return exitError{exit.code, fmt.Errorf("%s: %w", reference, exit.error)}
	}
	return exitError{exitLookup, fmt.Errorf("%s: %w", reference, err)}
}

// parse checks the flags and parses the image. The error describes every mistake.
func (i *inspecting) parse(
	args []string, flags *pflag.FlagSet, t terminal,
) (reference ref.Reference, err error) {
	errs := []error{i.checkFlags()}
	switch len(args) {
	case 1:
		if reference, err = ref.Parse(args[0]); err != nil {
			errs = append(errs, err)
		}
	default:
		errs = append(errs, fmt.Errorf("inspect: name one image; see %s inspect --help", t.program))
	}
	if flags.Changed("limit") && !i.tags {
		errs = append(errs, errors.New("inspect: --limit needs --tags"))
	}
	if i.maxTags < 1 {
		errs = append(errs, fmt.Errorf("inspect: --limit %d: want 1 or more", i.maxTags))
	}
	if err := notTogether(flags, "raw", "image-config", "files", "tags"); err != nil {
		errs = append(errs, fmt.Errorf("inspect: %w: each prints something else", err))
	}
	for _, exact := range []string{"raw", "image-config"} {
		if err := notTogether(flags, exact, "output"); err != nil {
			errs = append(errs, fmt.Errorf("inspect: %w: --%s prints exact bytes", err, exact))
		}
	}
	return reference, errors.Join(errs...)
}

func (i *inspecting) printConfig(
	ctx context.Context, reference ref.Reference, root *image.Root, t terminal,
) error {
	body, err := i.configOf(ctx, root)
	if err != nil {
		return ofImage(reference, err)
	}
	_, err = t.raw.Write(body)
	return err
}

// configOf returns the bytes of the config object of an image.
func (i *inspecting) configOf(ctx context.Context, root *image.Root) ([]byte, error) {
	single, err := i.single(ctx, root)
	if err != nil {
		return nil, err
	}
	config := single.Config()
	if config == nil {
		return nil, errors.New("the manifest has no config")
	}
	return i.reader.ConfigBytes(ctx, single.Ref, config)
}

// single returns the only image of an index. The error names the flag that chooses one.
func (i *inspecting) single(ctx context.Context, root *image.Root) (*image.Root, error) {
	single, err := i.reader.Single(ctx, root)
	if errors.Is(err, image.ErrSeveral) {
		return nil, exitError{exitUsage, fmt.Errorf("%w; use --platform", err)}
	}
	return single, err
}

func (i *inspecting) printTags(
	ctx context.Context, reference ref.Reference, t terminal,
) error {
	d, _, err := i.reader.DigestFor(ctx, reference, i.chosen)
	if err != nil {
		return ofImage(reference, advised(err, t.program))
	}
	shown := newProgress("tags", t)
	found, err := i.reader.Tags(ctx, reference.WithDigest(d), i.maxTags, shown.show)
	t.status("")
	if err != nil {
		return ofImage(reference, err)
	}
	if i.output.name == formatJSON {
		err = printJSON(t.out, found)
	} else if len(found.Tags) > 0 {
		_, err = fmt.Fprintln(t.out, strings.Join(found.Tags, "\n"))
	}
	if err != nil {
		return err
	}
	var errs []error
	if found.More {
		errs = append(errs, fmt.Errorf("%s: %s", reference, leftOut(found)))
	}
	for _, text := range found.Unread {
		errs = append(errs, fmt.Errorf("%s: tag %s", reference, text))
	}
	if err := errors.Join(errs...); err != nil {
		return exitError{exitLookup, err}
	}
	return nil
}

// leftOut says which tags were not looked up. A larger --limit does not help where the registry's
// list has the digests, or where it was not read to its end.
func leftOut(found *image.Tags) string {
	if found.Asked == 0 || found.Asked == found.Total {
		return "the registry's list was read up to " + amount.Of(found.Total, "tag")
	}
	return fmt.Sprintf("only %d of %d or more tags were looked up; see --limit",
		found.Asked, found.Total)
}

func (i *inspecting) printFiles(
	ctx context.Context, reference ref.Reference, root *image.Root, t terminal,
) error {
	single, err := i.single(ctx, root)
	if err != nil {
		return ofImage(reference, err)
	}
	layer, err := single.Layer(i.files)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("%s: %w", reference, err)}
	}
	printed := newFileList(t.out, i.output.name == formatJSON)
	err = i.reader.Files(ctx, single.Ref, layer, printed.add)
	if err != nil {
		err = ofImage(reference, fmt.Errorf("layer %s: %w", layer.Digest, err))
		if printed.count > 0 {
			err = errors.Join(err, printed.flush())
		}
		return err
	}
	return printed.end()
}

// printTree prints a tree. Problems in it are printed to stderr too, and are the error.
func (i *inspecting) printTree(reference ref.Reference, tree *image.Tree, t terminal) error {
	var err error
	if i.output.name == formatJSON {
		err = printJSON(t.out, struct {
			Image string `json:"image"`
			*image.Tree
		}{reference.String(), tree})
	} else {
		var buf bytes.Buffer
		printTree(&buf, reference.String(), tree)
		_, err = io.Copy(t.out, &buf)
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, problem := range append(tree.Problems(), tree.Unread...) {
		errs = append(errs, fmt.Errorf("%s: %s", reference, printable.Text(problem)))
	}
	if err := errors.Join(errs...); err != nil {
		return exitError{exitLookup, err}
	}
	return nil
}
