// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newMarkdownCommand returns the hidden command that prints the help of all commands as one page
// of Markdown. hack/docs writes it to README.md. Cobra's own generator is not used: it makes a page
// of each command, with links instead of an overview, and links a Markdown parser.
func newMarkdownCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:    "reference",
		Short:  "Print the help of all commands as Markdown",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var b strings.Builder
			addReference(&b, c.Root())
			_, err := fmt.Fprint(t.out, b.String())
			return err
		},
	}
}

// addReference adds the help of a command and of its subcommands.
func addReference(b *strings.Builder, c *cobra.Command) {
	if c.HasParent() {
		fmt.Fprintf(b, "\n## %s\n\n", pathOf(c))
	}
	if about := c.Long; about != "" {
		b.WriteString(markdown(about))
	} else {
		fmt.Fprintf(b, "%s.\n", c.Short)
	}
	if c.Runnable() && !c.HasSubCommands() {
		fmt.Fprintf(b, "\n```text\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n```console\n%s\n```\n", unindent(c.Example))
	}
	if c.HasSubCommands() {
		b.WriteString("\n| command | |\n|---|---|\n")
	}
	for _, sub := range c.Commands() {
		if inReference(sub) {
			fmt.Fprintf(b, "| `%s` | %s |\n", pathOf(sub), sub.Short)
		}
	}
	if usages := c.NonInheritedFlags().FlagUsages(); usages != "" && c.HasParent() {
		fmt.Fprintf(b, "\n```text\n%s```\n", usages)
	}
	for _, sub := range c.Commands() {
		if inReference(sub) {
			addReference(b, sub)
		}
	}
}

// inReference reports whether a command or a topic of the help is in the reference.
func inReference(c *cobra.Command) bool {
	return c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand()
}

// pathOf returns what to type for a command or, if it is only a topic, for its help.
func pathOf(c *cobra.Command) string {
	if c.IsAdditionalHelpTopicCommand() {
		return c.Root().CommandPath() + " help " + c.Name()
	}
	return c.CommandPath()
}

// markdown returns a text of the help as Markdown: indented lines become blocks of plain text, and
// < is escaped.
func markdown(text string) string {
	var b strings.Builder
	block := false
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		indented := strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t")
		switch {
		case indented && !block:
			b.WriteString("```text\n")
		case !indented && block:
			b.WriteString("```\n")
		}
		if block = indented; block {
			b.WriteString(strings.TrimPrefix(line, "  "))
			continue
		}
		b.WriteString(strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(line))
	}
	if block {
		b.WriteString("```\n")
	}
	return b.String()
}

// unindent removes the two spaces with which the lines of an example begin.
func unindent(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll("\n"+text, "\n  ", "\n"), "\n")
}
