// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/failure"
)

const aboutValidate = `Checks a config file as the webhook does when it starts or reads the file again.

Each mistake is printed to stderr with its line and field, all of them at once; the exit code is
then 2. For a valid file, a sentence says what it sets. With -, the file is read from stdin. The
files that a config names, such as caFile, are not read, because they are on another machine.
Whether the API server takes all of the templates is checked by tagpin-webhook manifests --config
FILE.`

func newValidateCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a config file",
		Long:  aboutValidate,
		Example: "  tagpin config validate tagpin.yaml\n" +
			"  kubectl get configmap tagpin-webhook -n tagpin-system " +
			"-o jsonpath='{.data.config\\.yaml}' |\n    tagpin config validate -",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("config validate: name one file, or - for stdin")
			}
			return validateConfig(c.Context(), args[0], t)
		},
	}
}

// validateConfig prints what the config file at path sets, or returns an error for each of its
// mistakes.
func validateConfig(ctx context.Context, path string, t terminal) error {
	var (
		name = path
		data []byte
		err  error
	)
	if path == "-" {
		name = "stdin"
		data, err = t.readStdin(ctx)
	} else {
		data, err = await(ctx, func() ([]byte, error) { return os.ReadFile(path) })
	}
	if err != nil {
		return fmt.Errorf("config validate: %w", err)
	}
	c, err := config.Parse(data)
	if err == nil {
		_, err = fmt.Fprintf(t.out, "%s is valid: %s.\n", name, describe(c))
		return err
	}
	var errs []error
	for _, mistake := range failure.Split(err) {
		errs = append(errs, fmt.Errorf("%s: %w", name, mistake))
	}
	return errors.Join(errs...)
}

// describe says what a config sets, in the words of a sentence.
func describe(c *config.Config) string {
	hosts, mirrored := 0, 0
	for _, r := range c.Registries {
		if r.Host != "*" {
			hosts++
		}
		if len(r.Mirrors) > 0 {
			mirrored++
		}
	}
	parts := append([]string{"pins are written as " + c.Output}, some(
		quantity{hosts, "registry has its own settings", "registries have their own settings"},
		quantity{mirrored, "entry has mirrors", "entries have mirrors"},
		quantity{len(c.ExemptImages), "pattern exempts images", "patterns exempt images"},
		quantity{len(c.SkipOwners), "operator is skipped", "operators are skipped"},
		quantity{len(c.Templates), "kind is added", "kinds are added"},
	)...)
	f := c.OnFailure
	return strings.Join(parts, ", ") + fmt.Sprintf("; if a lookup fails: notFound %s, "+
		"unauthorized %s, unavailable %s, invalid %s",
		f.NotFound, f.Unauthorized, f.Unavailable, f.Invalid)
}
