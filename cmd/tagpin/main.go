// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tagpin/tagpin/pkg/failure"
)

// Exit codes.
const (
	exitOK     = 0
	exitFound  = 1 // the command found what it looks for, such as a difference
	exitUsage  = 2 // a flag is wrong, or a file can't be read or written
	exitLookup = 3 // a lookup failed
	// exitSignal is the exit code of a command that a signal has ended, as shells know it of Ctrl-C.
	exitSignal = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process immediately
	// Go's HTTP client logs unsolicited responses, including their text.
	log.SetOutput(io.Discard)
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// exitError is an error with the exit code of the command. If its error is nil, nothing is printed.
type exitError struct {
	code int
	error
}

// Error returns the text of the error, or "" if there is none.
func (e exitError) Error() string {
	if e.error == nil {
		return ""
	}
	return e.error.Error()
}

// run runs the command that args name and returns the exit code. The first argument is the name of
// the program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := newTerminal(stdin, stdout, stderr)
	t.program = displayName(args[0])
	defer t.status("")
	root := newRoot(t)
	root.SetArgs(args[1:])
	code := exitOK
	for _, exit := range outcomes(root.ExecuteContext(ctx)) {
		if exit.error != nil {
			t.complain(exit.error)
		}
		code = moreImportant(code, exit.code)
	}
	if code != exitOK && ctx.Err() != nil {
		return exitSignal
	}
	return code
}

// outcomes returns the errors that err joins, each with its exit code. That of an error without one
// is exitUsage.
func outcomes(err error) (all []exitError) {
	for _, one := range failure.Split(err) {
		exit := exitError{exitUsage, one}
		errors.As(one, &exit)
		all = append(all, exit)
	}
	return all
}

// moreImportant returns the exit code of a command to which both codes apply, in the order that the
// help of tagpin gives.
func moreImportant(a, b int) int {
	for _, code := range []int{exitSignal, exitUsage, exitLookup, exitFound} {
		if a == code || b == code {
			return code
		}
	}
	return exitOK
}

const aboutRoot = `tagpin pins image tags to digests: nginx:1.25 becomes nginx:1.25@sha256:…

The result is written to stdout, messages for people to stderr. The exit code is

  0  done
  1  the command found something, such as a difference
  2  wrong usage, or a file or a cluster can't be read or written
  3  a lookup failed
  130  interrupted, such as by Ctrl-C

If several apply, 130 counts before 2, 2 before 3, and 3 before 1. With 0 and 1,
messages name what was left out, such as files in a folder that can't be parsed.`

// programName is the name of the command.
const programName = "tagpin"

// displayName returns the name of the command in its help and in its advice. kubectl runs its
// plugin tagpin under the name kubectl-tagpin.
func displayName(program string) string {
	program = strings.TrimSuffix(filepath.Base(program), ".exe")
	if plugin, ok := strings.CutPrefix(program, "kubectl-"); ok {
		return "kubectl " + plugin
	}
	return programName
}

// printHelp prints the help of the command or topic that args name. Cobra's own help command takes
// each word that names none for a question about tagpin itself.
func printHelp(c *cobra.Command, args []string) error {
	about, rest, err := c.Root().Find(args)
	switch {
	case err != nil:
		return err
	case about.HasSubCommands() && len(rest) > 0:
		return about.RunE(about, rest)
	}
	about.InitDefaultHelpFlag()
	about.InitDefaultVersionFlag()
	return about.Help()
}

// newRoot returns the command tagpin with all of its subcommands.
func newRoot(t terminal) *cobra.Command {
	root := newGroup(&cobra.Command{
		Use:           programName,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: t.program},
		Short:         "Pin image tags to digests",
		Long:          aboutRoot,
		Version:       thisBuild().String(),
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}, newPinCommand(t), newCheckCommand(t), newResolveCommand(t), newInspectCommand(t),
		newAuditCommand(t), newConfigCommand(t), newVersionCommand(t), newKindsTopic(),
		newLoginsTopic(), newMarkdownCommand(t))
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			describeCompletion(newGroup(c))
		case "help":
			c.Run, c.RunE = nil, printHelp
		}
	}
	completeAll(root)
	refuseEmpty(root)
	return root
}

// newGroup returns c as a command that only has subcommands. Without one of them, it prints its
// help to stderr. Cobra would print it to stdout and report success.
func newGroup(c *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	c.AddCommand(subcommands...)
	c.DisableFlagsInUseLine = true
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			c.SetOut(c.ErrOrStderr())
			return exitError{exitUsage, c.Help()}
		}
		hint := ""
		if similar := c.SuggestionsFor(args[0]); len(similar) > 0 {
			hint = "; did you mean " + strings.Join(similar, " or ") + "?"
		}
		return usageError(c, "unknown command %q%s", args[0], hint)
	}
	return c
}
