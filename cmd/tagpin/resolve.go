// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const aboutResolve = `Prints the current digest of each image on its own line, in the given order.

For an image of several platforms, tagpin resolve prints the digest of the index, so that a pinned
image runs on all of them. With --platform, it prints the digest of the manifest for one platform.
If a lookup fails, nothing is printed.

Flags:`

// resolving has the flags of tagpin resolve.
type resolving struct {
	*engine
	config   string
	platform string
	output   string
	matcher  platforms.Matcher // nil without --platform
}

// resolved is the result for one image. With -o json, it is printed as JSON.
type resolved struct {
	Image    string        `json:"image"`  // the argument
	Digest   digest.Digest `json:"digest"` // the digest of the index, or of the platform's manifest
	Pin      string        `json:"pin"`    // the image with the digest
	Platform string        `json:"platform,omitempty"`
}

func runResolve(ctx context.Context, args []string, t terminal) error {
	var r resolving
	const usage = "tagpin resolve [--platform OS/ARCH[/VARIANT]] [-o json] [--config FILE] IMAGE…"
	fs := newFlags("resolve", usage, aboutResolve)
	fs.StringVar(&r.config, "config", "", "config `file` of the webhook: registries, network")
	fs.StringVar(&r.platform, "platform", "",
		"print the digest of the manifest for a `platform`, such as linux/arm64 or linux/arm/v7")
	fs.StringVar(&r.output, "o", "", "output `format`: json")
	args, err := parse(fs, args, t)
	if err != nil {
		return err
	}
	images, err := r.check(args)
	if err != nil {
		return err
	}
	if r.engine, err = newEngine(r.config, t.complain); err != nil {
		return err
	}
	defer r.client.Close()
	results, err := r.all(ctx, images)
	if err != nil {
		return exitError{exitLookup, err}
	}
	return r.print(results, t.out)
}

// check parses the images and checks the flags. The error describes every mistake.
func (r *resolving) check(args []string) ([]ref.Reference, error) {
	var errs []error
	if len(args) == 0 {
		errs = append(errs, errors.New("resolve: name an image; see tagpin help resolve"))
	}
	if r.output != "" && r.output != "json" {
		errs = append(errs, fmt.Errorf("resolve: -o %s: want json", r.output))
	}
	if r.platform != "" {
		p, err := platforms.Parse(r.platform)
		if err != nil || !strings.Contains(r.platform, "/") {
			errs = append(errs, fmt.Errorf("resolve: --platform %s: want os/arch or os/arch/variant, "+
				"such as linux/arm64", r.platform))
		}
		r.matcher = platforms.OnlyStrict(p)
	}
	images := make([]ref.Reference, len(args))
	for i, arg := range args {
		var err error
		images[i], err = ref.Parse(arg)
		errs = append(errs, err)
	}
	return images, errors.Join(errs...)
}

// all resolves the images concurrently.
func (r *resolving) all(ctx context.Context, images []ref.Reference) ([]resolved, error) {
	results, errs := make([]resolved, len(images)), make([]error, len(images))
	var wg sync.WaitGroup
	for i, image := range images {
		wg.Go(func() {
			results[i], errs[i] = r.one(ctx, image)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", image, errs[i])
			}
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

func (r *resolving) one(ctx context.Context, image ref.Reference) (resolved, error) {
	d := image.Digest()
	if !image.Pinned() {
		req := resolve.Request{Ref: image, Keychain: r.keychain, Fresh: true}
		found, err := r.pinner.Resolver.Resolve(ctx, req)
		if err != nil {
			return resolved{}, err
		}
		d = found.Digest
	}
	result := resolved{Image: image.String(), Digest: d}
	if r.matcher != nil {
		var err error
		if result.Digest, err = r.platformDigest(ctx, image.WithDigest(d)); err != nil {
			return resolved{}, err
		}
		result.Platform = r.platform
	}
	result.Pin = image.WithDigest(result.Digest).String()
	return result, nil
}

// platformDigest returns the digest of the first manifest in an index that matches the platform.
// This is how container runtimes choose one, too. If pinned is not an index, its own digest is
// returned.
func (r *resolving) platformDigest(
	ctx context.Context, pinned ref.Reference,
) (digest.Digest, error) {
	m, err := r.mirrors.Manifest(ctx, resolve.Request{Ref: pinned, Keychain: r.keychain})
	if err != nil {
		return "", err
	}
	if !m.IsIndex() {
		return pinned.Digest(), nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(m.Body, &index); err != nil {
		return "", fmt.Errorf("parsing the index: %w", err)
	}
	var available []string
	for _, child := range index.Manifests {
		if child.Platform == nil || child.Platform.OS == "unknown" {
			continue // an attestation
		}
		if r.matcher.Match(*child.Platform) {
			return child.Digest, child.Digest.Validate()
		}
		available = append(available, platforms.FormatAll(*child.Platform))
	}
	if len(available) == 0 {
		return "", fmt.Errorf("no manifest for %s: the index names no platforms", r.platform)
	}
	return "", fmt.Errorf("no manifest for %s; the index has manifests for %s",
		r.platform, strings.Join(available, ", "))
}

func (r *resolving) print(results []resolved, out io.Writer) error {
	if r.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	for _, result := range results {
		if _, err := fmt.Fprintln(out, result.Digest); err != nil {
			return err
		}
	}
	return nil
}
