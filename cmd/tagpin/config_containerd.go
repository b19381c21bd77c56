// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tagpin/tagpin/pkg/config/containerd"
)

const aboutFromContainerd = `Prints the field registries of tagpin's config, translated from a node's
settings, so that tagpin asks the same mirrors as the node. PATH is one of

  containerd's certs.d folder, which has a hosts.toml for each registry
  the registries.yaml of k3s or RKE2

What can't be translated is printed to stderr, in a sentence each. Credentials are never copied.
Files such as caFile keep their path on the node: mount them into tagpin, or change the paths.`

func newFromContainerdCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:     "from-containerd PATH",
		Short:   "Print the config of the registries that a node's settings describe",
		Long:    aboutFromContainerd,
		Example: "  tagpin config from-containerd /etc/containerd/certs.d",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("config from-containerd: name one folder or file")
			}
			return fromContainerd(c.Context(), args[0], t)
		},
	}
}

func fromContainerd(ctx context.Context, path string, t terminal) error {
	translated, err := await(ctx, func() (*containerd.Translation, error) {
		return containerd.Read(path)
	})
	if err != nil {
		return fmt.Errorf("config from-containerd: %w", err)
	}
	for _, note := range translated.Notes {
		t.complain(errors.New(note))
	}
	_, err = t.out.Write(translated.YAML)
	return err
}
