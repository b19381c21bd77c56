// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/tagpin/tagpin/pkg/image"
	"github.com/tagpin/tagpin/pkg/ref"
)

// reading has the flags and the parts of the commands that read images.
type reading struct {
	engineFlags
	*engine

	platform string
	output   format
	chosen   image.Platform
	reader   *image.Reader
}

// register adds the flags. aboutPlatform is the help of --platform.
func (r *reading) register(flags *pflag.FlagSet, aboutPlatform string) {
	r.engineFlags.register(flags, "shortNames, registries and network")
	flags.StringVar(&r.platform, "platform", "", aboutPlatform)
	r.output.register(flags, "", formatText, formatJSON)
}

// checkFlags returns an error for each mistake in the flags.
func (r *reading) checkFlags() error {
	var errPlatform error
	errOutput := r.output.checkFlag()
	if errOutput != nil {
		errOutput = fmt.Errorf("%s: %w", r.command, errOutput)
	}
	if r.chosen, errPlatform = image.ParsePlatform(r.platform); errPlatform != nil {
		errPlatform = fmt.Errorf("%s: --platform %s: %w", r.command, r.platform, errPlatform)
	}
	return errors.Join(r.engineFlags.checkFlags(), errOutput, errPlatform)
}

// start sets up the reader for the images. Without an error, it returns a context that ends after
// --timeout; the caller must call done at the end.
func (r *reading) start(ctx context.Context, images []ref.Reference, t terminal) (
	limited context.Context, done func(), err error,
) {
	if r.engine, err = r.newEngine(ctx, t.complain); err != nil {
		return nil, nil, err
	}
	if err := r.checkNames(r.command, images); err != nil {
		r.close()
		return nil, nil, err
	}
	// The reader looks up each tag only once, as the resolver does.
	r.reader = &image.Reader{
		Mirrors: r.mirrors, Resolver: r.pinner.Resolver, Keychain: r.keychain, Repeat: r.patience.do,
	}
	limited, cancel := r.limit(ctx)
	return limited, func() { cancel(); r.close() }, nil
}

// checkNames returns an error for each image that can't be looked up because its name has no host.
func (e *engine) checkNames(command string, images []ref.Reference) error {
	var errs []error
	for _, i := range images {
		if err := e.pinner.Policy.CheckName(i); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", command, err))
		}
	}
	return errors.Join(errs...)
}
