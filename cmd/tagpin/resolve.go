// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/tagpin/tagpin/pkg/ref"
)

const aboutResolve = `Prints the current digest of each image on a line of its own, in the given order. A digest that an
image already has is printed as it is. No layer is pulled.

For an image of several platforms, tagpin resolve prints the digest of the index, so that a pinned
image runs on all of them. With --platform, it prints the digest of the manifest that containerd
chooses on that platform: its own, or else the best one that runs there too. Without a manifest for
linux/arm/v7 it is that for linux/arm/v6, and linux/amd64/v3 runs what is for linux/amd64. An image
without an index has a single manifest, which is taken as it is: which platform it is for is not
looked up, and -o json then has no field platform. With --full, tagpin resolve prints the whole
image: nginx:1.25@sha256:…

A - stands for the images in stdin, one on each line. Blank lines and lines that begin with # are
left out.

If a lookup fails, the line of that image is empty, so that line 3 is always that of the third
image, and the exit code is 3. The error is printed to stderr. If the config says shortNames:
leave, images without a digest must name their registry host.

The lookups use your own network and logins. In a pod of the webhook, tagpin-webhook resolve uses
the webhook's; if a lookup fails there, the exit code is 1.`

const exampleResolve = `  tagpin resolve nginx:1.25 ghcr.io/org/app:v1
  tagpin resolve --full --platform linux/arm64 nginx
  pack build registry.example/app --publish --quiet | tagpin resolve -`

// resolving has the flags of tagpin resolve.
type resolving struct {
	reading

	full bool
}

// resolved is the result for one image. With -o json, it is printed as JSON.
type resolved struct {
	Image    string        `json:"image"`              // the argument
	Digest   digest.Digest `json:"digest,omitempty"`   // of the index, or of the platform's manifest
	Pin      string        `json:"pin,omitempty"`      // the image with the digest
	Platform string        `json:"platform,omitempty"` // of --platform, if it chose the manifest
	Error    string        `json:"error,omitempty"`    // of the lookup; then there is no digest
}

func newResolveCommand(t terminal) *cobra.Command {
	var r resolving
	c := &cobra.Command{
		Use:     "resolve IMAGE…",
		Short:   "Print the digests of images",
		Long:    aboutResolve,
		Example: exampleResolve,
		RunE:    func(c *cobra.Command, args []string) error { return r.run(c.Context(), args, t) },
	}
	r.register(c.Flags(), "print the digest of the manifest for a `platform`, such as linux/arm64 or "+
		"linux/arm/v7, if the image is an index")
	c.Flags().BoolVar(&r.full, "full", false, "print the image with its digest, and keep its tag")
	return c
}

func (r *resolving) run(ctx context.Context, args []string, t terminal) error {
	images, err := r.parse(ctx, args, t)
	if err != nil {
		return err
	}
	ctx, done, err := r.start(ctx, images, t)
	if err != nil {
		return err
	}
	defer done()
	results, err := r.all(ctx, images, t)
	if errPrint := r.print(results, t.out); errPrint != nil {
		return errPrint
	}
	if err != nil {
		return exitError{exitLookup, err}
	}
	return nil
}

// parse parses the images and checks the flags. The error describes every mistake.
func (r *resolving) parse(
	ctx context.Context, args []string, t terminal,
) (images []ref.Reference, err error) {
	errs := []error{r.checkFlags()}
	if len(args) == 0 {
		errs = append(errs, fmt.Errorf("resolve: name an image; see %s resolve --help", t.program))
	}
	if r.full && r.output.name == formatJSON {
		errs = append(errs, errors.New("resolve: -o json always has the whole image, as pin; "+
			"leave out --full"))
	}
	for i, arg := range args {
		if arg == "-" {
			if slices.Contains(args[:i], arg) {
				errs = append(errs, errors.New("resolve: - stands for all of stdin; name it once"))
				continue
			}
			data, err := t.readStdin(ctx)
			if err != nil {
				errs = append(errs, fmt.Errorf("stdin: %w", err))
				continue
			}
			more, err := readImages(data)
			images, errs = append(images, more...), append(errs, err)
			continue
		}
		parsed, err := ref.Parse(arg)
		images, errs = append(images, parsed), append(errs, err)
	}
	return images, errors.Join(errs...)
}

// readImages parses a list of images, one on each line. The error names each line that has none.
func readImages(stdin []byte) (images []ref.Reference, err error) {
	var errs []error
	lines := bufio.NewScanner(bytes.NewReader(stdin))
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		parsed, err := ref.Parse(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("stdin:%d: %w", n, err))
			continue
		}
		images = append(images, parsed)
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("stdin:%d: %w", n+1, err))
	}
	if len(images)+len(errs) == 0 {
		errs = append(errs, errors.New("stdin names no image")) // what writes to it may have failed
	}
	return images, errors.Join(errs...)
}

// all resolves the images side by side; the registry's settings limit the requests to each. The
// result of an image whose lookup has failed has no digest.
func (r *resolving) all(
	ctx context.Context, images []ref.Reference, t terminal,
) ([]resolved, error) {
	results, errs := make([]resolved, len(images)), make([]error, len(images))
	shown := newProgress("images", t)
	shown.begin(len(images))
	var running sync.WaitGroup
	for i, one := range images {
		running.Go(func() {
			defer shown.end()
			var err error
			if results[i], err = r.resolve(ctx, one); err != nil {
				results[i] = resolved{Image: one.String(), Error: err.Error()}
				errs[i] = fmt.Errorf("%s: %w", one, err)
			}
		})
	}
	running.Wait()
	t.status("")
	adviseOnce(errs, t.program)
	return results, errors.Join(errs...)
}

func (r *resolving) resolve(ctx context.Context, one ref.Reference) (resolved, error) {
	d, chosen, err := r.reader.DigestFor(ctx, one, r.chosen)
	if err != nil {
		return resolved{}, err
	}
	result := resolved{Image: one.String(), Digest: d, Pin: one.WithDigest(d).String()}
	if chosen {
		result.Platform = r.platform
	}
	return result, nil
}

func (r *resolving) print(results []resolved, out io.Writer) error {
	if r.output.name == formatJSON {
		return printJSON(out, results)
	}
	for _, result := range results {
		line := result.Digest.String()
		if r.full {
			line = result.Pin
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}
