// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

const aboutCompletion = `Prints a script that makes a shell complete the commands, flags and files of tagpin. Where to put the
script is in the help of the command for that shell.`

// loadingScripts says, for each shell, how its script is loaded now, and how in all new shells.
func loadingScripts() map[string]string {
	return map[string]string{
		"bash": `For this shell:

  source <(tagpin completion bash)

For all new shells, on Linux and on macOS with Homebrew:

  tagpin completion bash > ~/.local/share/bash-completion/completions/tagpin
  tagpin completion bash > "$(brew --prefix)/etc/bash_completion.d/tagpin"

It needs the package bash-completion.`,
		"zsh": `For this shell:

  source <(tagpin completion zsh)

For all new shells, into a folder of $fpath:

  tagpin completion zsh > "${fpath[1]}/_tagpin"

It needs compinit. If completion does nothing in zsh yet, add this line to ~/.zshrc:

  autoload -U compinit; compinit`,
		"fish": `For this shell:

  tagpin completion fish | source

For all new shells:

  tagpin completion fish > ~/.config/fish/completions/tagpin.fish`,
		"powershell": `For this shell:

  tagpin completion powershell | Out-String | Invoke-Expression

For all new shells, add this line to the profile, whose path is in $PROFILE.`,
	}
}

// describeCompletion replaces the help that cobra gives its command completion and its subcommands.
func describeCompletion(c *cobra.Command) {
	c.Short = "Print a script that completes tagpin's commands in a shell"
	c.Long = aboutCompletion
	loading := loadingScripts()
	for _, shell := range c.Commands() {
		shell.Short = "Print the script for " + shell.Name()
		shell.Long = fmt.Sprintf("Prints the script that completes tagpin's commands in %s.\n\n%s",
			shell.Name(), loading[shell.Name()])
		shell.Args = noArguments
		if f := shell.Flags().Lookup("no-descriptions"); f != nil {
			f.Usage = "suggest commands and flags without their descriptions"
		}
	}
}
