// SPDX-License-Identifier: Apache-2.0

// Command image makes tagpin's image for several platforms, without a container engine: it has make build both binaries
// for each, lays them over a base, and writes an OCI image layout. Beside it, and attached to each platform's image, stands
// an SBOM of what the binaries were linked from.
//
//	make image
//	make image IMAGE='--platform linux/amd64 --push registry.example.com/tagpin-webhook:v1.2.3'
//
// The digest of the image's index is all that it writes to stdout. It is the same wherever and whenever the same commit is
// built: no clock, no host name, no order of a map goes in, and the default base is made of nothing but the roots that
// go.sum pins. It signs nothing, and tags nothing but what --push names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run works in the repository's root.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "image:", err)
		return 2
	}
	digest, err := s.make(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "image:", err)
		return 1
	}
	fmt.Fprintln(stdout, digest)
	return 0
}

// settings are the flags.
type settings struct {
	platforms []v1.Platform
	output    string
	base      string
	push      []string
	version   string
	revision  string
}

func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	fs := flag.NewFlagSet("image", flag.ContinueOnError)
	fs.SetOutput(stderr)
	platforms := fs.String("platform", "linux/amd64,linux/arm64", "`platforms` to build for, with commas between")
	fs.StringVar(&s.output, "output", "bin/image", "`folder` to write the OCI image layout to; what is in it is replaced")
	fs.StringVar(&s.base, "base", scratch, "`image` to lay the binaries over, by digest; scratch is users, folders and CA certificates alone")
	fs.Func("push", "`reference`, with a tag, to push the image to; may be given several times", func(ref string) error {
		s.push = append(s.push, ref)
		return nil
	})
	fs.StringVar(&s.version, "version", os.Getenv("VERSION"), "`version` to stamp the binaries with; make image gives that of git")
	fs.StringVar(&s.revision, "revision", "", "`commit` that is built (default: git's, if nothing differs from it)")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if s.version == "" {
		return s, errors.New("--version is missing: run make image, which gives it")
	}
	s.platforms, err = parsePlatforms(*platforms)
	return s, err
}

func parsePlatforms(text string) ([]v1.Platform, error) {
	var platforms []v1.Platform
	for one := range strings.SplitSeq(text, ",") {
		p, err := v1.ParsePlatform(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("--platform: %w", err)
		}
		if p.OS != "linux" || p.Architecture == "" || p.Variant != "" || p.OSVersion != "" {
			return nil, fmt.Errorf("--platform %s: want linux/ARCHITECTURE", one)
		}
		platforms = append(platforms, *p)
	}
	return platforms, nil
}

// make builds, writes, and pushes where that is asked for.
func (s settings) make(ctx context.Context, progress io.Writer) (v1.Hash, error) {
	src, err := readSource(ctx, s.version, s.revision, os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return v1.Hash{}, err
	}
	b, err := openBase(ctx, s.base)
	if err != nil {
		return v1.Hash{}, err
	}
	var parts []part
	for _, platform := range s.platforms {
		fmt.Fprintln(progress, "building for", platform)
		p, err := makePart(ctx, platform, b, src)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("%s: %w", platform, err)
		}
		parts = append(parts, p)
	}
	r, err := newRelease(parts, b, src)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := r.save(s.output); err != nil {
		return v1.Hash{}, err
	}
	fmt.Fprintln(progress, "wrote", s.output, "and", s.output+".*"+sbomSuffix)
	for _, ref := range s.push {
		if err := r.push(ctx, ref); err != nil {
			return v1.Hash{}, fmt.Errorf("pushing %s: %w", ref, err)
		}
		fmt.Fprintln(progress, "pushed", ref)
	}
	return r.index.Digest()
}

// day is how times are written.
func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
