// SPDX-License-Identifier: Apache-2.0

// Command image builds tagpin's image for several platforms without a container engine. For each
// platform, it builds both binaries with make and puts them on top of a base. It writes the image
// as an OCI image layout. Each platform has an SBOM of the modules in its binaries, which is
// written to a file and attached to the image of the platform.
//
//	make image
//	make image IMAGE_FLAGS='--platform linux/amd64 --push registry.example.com/tagpin-webhook:v1.2.3'
//
// It prints the digest of the image's index. A commit always has the same digest, on any machine
// and at any time, because the image contains no current time and no host names, and because go.sum
// pins the CA certificates in the default base. The image is not signed: the release workflow signs
// the images that it pushes.
//
// ko is not used, because it puts one program into an image. For the SBOM, cyclonedx-gomod is not
// used, because it describes one binary and not an image, puts the current time into it, and would
// add some 20 modules, such as go-git, to save the 30 lines that read the build info of a binary.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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

// run builds the image, or writes the SBOM of a binary. The working directory must be the root of
// the repository.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "image:", err)
		return 2
	}
	if s.binary != "" {
		if err := s.writeBinarySBOM(ctx); err != nil {
			fmt.Fprintln(stderr, "image:", err)
			return 1
		}
		return 0
	}
	digest, err := s.make(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "image:", err)
		return 1
	}
	fmt.Fprintln(stdout, digest)
	return 0
}

// settings are the values of the flags.
type settings struct {
	platforms []v1.Platform
	output    string
	base      string
	push      []string
	version   string
	revision  string
	binary    string
}

func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	fs := flag.NewFlagSet("image", flag.ContinueOnError)
	fs.SetOutput(stderr)
	platforms := fs.String("platform", "linux/amd64,linux/arm64",
		"`platforms` to build for, separated by commas")
	fs.StringVar(&s.output, "output", "bin/image",
		"`folder` to write the OCI image layout to; an older layout in it is replaced")
	fs.StringVar(&s.base, "base", scratch,
		"`image` below the binaries, by digest; scratch has only users, folders and CA certificates")
	fs.Func("push", "`reference` with a tag to push the image to; may be given several times",
		func(ref string) error {
			s.push = append(s.push, ref)
			return nil
		})
	fs.StringVar(&s.version, "version", os.Getenv("VERSION"),
		"`version` of the binaries; make image takes it from git")
	fs.StringVar(&s.revision, "revision", "",
		"`commit` of the source files (default: git's HEAD, if no file differs from it)")
	fs.StringVar(&s.binary, "sbom-of", "",
		"`file` of a binary: write its SBOM to the file --output, and build no image")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if s.version == "" {
		return s, errors.New("--version is missing; make image sets it")
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

// make builds, saves and pushes the image. It returns the digest of the index.
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

// writeBinarySBOM writes the SBOM of a binary of a release, which make release puts beside it.
func (s settings) writeBinarySBOM(ctx context.Context) error {
	src, err := readSource(ctx, s.version, s.revision, os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	content, err := os.ReadFile(s.binary)
	if err != nil {
		return err
	}
	sbom, err := newBinarySBOM(binary{filepath.Base(s.binary), content}, src)
	if err != nil {
		return fmt.Errorf("%s: %w", s.binary, err)
	}
	return os.WriteFile(s.output, sbom, 0o644) //nolint:gosec // not secret
}

// timestamp formats a time as in annotations and SBOMs.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
