// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func newConfigCommand(t terminal) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "config",
		Short: "Make or check the config file of the webhook",
	}, newValidateCommand(t), newFromContainerdCommand(t))
}
