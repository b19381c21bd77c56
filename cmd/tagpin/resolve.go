// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const aboutResolve = `Prints the digest that each image has now, a line each in the order given.

A tag on an index (an image of several platforms) gives the digest of the index, which is what tagpin pins to: every
platform runs. With --platform it gives the digest of that platform's manifest. Where one look-up fails, nothing is
printed.`

// resolving is one run of tagpin resolve.
type resolving struct {
	config   string
	platform string
	output   string
	matcher  platforms.Matcher // nil: no platform was asked for
}

// resolved is the answer for one image, as -o json prints it.
type resolved struct {
	Image    string        `json:"image"`  // as it was asked for
	Digest   digest.Digest `json:"digest"` // of the index, or of the platform's manifest
	Pin      string        `json:"pin"`    // the image with the digest
	Platform string        `json:"platform,omitempty"`
}

func runResolve(ctx context.Context, args []string, t terminal) int {
	var r resolving
	fs := newFlags("resolve", "tagpin resolve [--platform OS/ARCH[/VARIANT]] [-o json] [--config FILE] IMAGE…", aboutResolve)
	fs.StringVar(&r.config, "config", "", "`file` with the webhook's config: registries, network")
	fs.StringVar(&r.platform, "platform", "", "`platform` of the manifest to give the digest of: linux/arm64, linux/arm/v7")
	fs.StringVar(&r.output, "o", "", "`format` of the output: json")
	if code, ok := parse(fs, args, t); !ok {
		return code
	}
	images, err := r.check(fs.Args())
	if err != nil {
		t.complain(err)
		return exitUsage
	}
	e, err := newEngine(r.config, t.complain)
	if err != nil {
		t.complain(err)
		return exitUsage
	}
	defer e.close()
	results, err := r.all(ctx, e, images)
	if err != nil {
		t.complain(err)
		return exitLookup
	}
	return r.print(results, t)
}

// check parses what was asked for, and names every mistake.
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
			errs = append(errs, fmt.Errorf("resolve: --platform %s: want os/arch or os/arch/variant, such as linux/arm64", r.platform))
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

// all resolves the images side by side.
func (r *resolving) all(ctx context.Context, e *engine, images []ref.Reference) ([]resolved, error) {
	results, errs := make([]resolved, len(images)), make([]error, len(images))
	var wg sync.WaitGroup
	for i, image := range images {
		wg.Go(func() {
			results[i], errs[i] = r.one(ctx, e, image)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", image, errs[i])
			}
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

func (r *resolving) one(ctx context.Context, e *engine, image ref.Reference) (resolved, error) {
	d := image.Digest()
	if !image.Pinned() {
		answer, err := e.resolver.Resolve(ctx, resolve.Request{Ref: image, Keychain: e.keychain, Fresh: true})
		if err != nil {
			return resolved{}, err
		}
		d = answer.Digest
	}
	result := resolved{Image: image.String(), Digest: d}
	if r.matcher != nil {
		var err error
		if result.Digest, err = r.ofPlatform(ctx, e, image.WithDigest(d)); err != nil {
			return resolved{}, err
		}
		result.Platform = r.platform
	}
	result.Pin = image.WithDigest(result.Digest).String()
	return result, nil
}

// ofPlatform is the digest of the platform's manifest in an index: the first that matches, as container runtimes choose.
// A single manifest is taken as it is.
func (r *resolving) ofPlatform(ctx context.Context, e *engine, pinned ref.Reference) (digest.Digest, error) {
	m, err := e.manifest(ctx, pinned)
	if err != nil {
		return "", err
	}
	if !m.IsIndex() {
		return pinned.Digest(), nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(m.Body, &index); err != nil {
		return "", fmt.Errorf("its index: %w", err)
	}
	var there []string
	for _, child := range index.Manifests {
		if child.Platform == nil || child.Platform.OS == "unknown" { // attestations
			continue
		}
		if r.matcher.Match(*child.Platform) {
			return child.Digest, child.Digest.Validate()
		}
		there = append(there, platforms.FormatAll(*child.Platform))
	}
	return "", noPlatform(r.platform, there)
}

func noPlatform(want string, there []string) error {
	if len(there) == 0 {
		return fmt.Errorf("no manifest for %s: its index names no platforms", want)
	}
	return fmt.Errorf("no manifest for %s; there are %s", want, strings.Join(there, ", "))
}

// manifest gets what a pinned reference names.
func (e *engine) manifest(ctx context.Context, r ref.Reference) (*registry.Manifest, error) {
	return e.mirrors.Manifest(ctx, resolve.Request{Ref: r, Keychain: e.keychain})
}

func (r *resolving) print(results []resolved, t terminal) int {
	if r.output == "json" {
		enc := json.NewEncoder(t.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(results); err != nil {
			t.complain(err)
			return exitUsage
		}
		return exitOK
	}
	for _, result := range results {
		if _, err := fmt.Fprintln(t.out, result.Digest); err != nil {
			t.complain(err)
			return exitUsage
		}
	}
	return exitOK
}
