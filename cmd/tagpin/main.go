// SPDX-License-Identifier: Apache-2.0

// Command tagpin pins the images in manifest files before they reach a cluster. It uses the same
// code as the admission webhook.
//
//	tagpin pin --write deploy/
//	kustomize build . | tagpin pin | kubectl apply -f -
//	tagpin resolve nginx:1.25
//
// The result is written to stdout. Messages for people are written to stderr.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFound  = 1 // pin --diff found a difference
	exitUsage  = 2 // a flag is wrong, or a file can't be read or written
	exitLookup = 3 // a lookup failed
)

// version is the version of a release build, set by the linker. If empty, moduleVersion returns the
// version of the module.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process immediately
	// Go's HTTP client logs unsolicited responses, including their text.
	log.SetOutput(io.Discard)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const help = `tagpin pins image tags to digests: nginx:1.25 becomes nginx:1.25@sha256:…

Usage: tagpin COMMAND [FLAG]… [ARGUMENT]…

Commands:
  pin [FILE, DIR, -]…   pin the images in manifest files
  resolve IMAGE…        print the digests of images
  version               print the version
  help [COMMAND]        print this help, or the help of a command

Exit codes: 0 done, 1 pin --diff found a difference, 2 wrong usage, or a file can't be read or
written, 3 a lookup failed.
`

// terminal has the standard input and outputs of a command.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// complain prints an error to stderr. Joined errors are printed on a line each.
func (t terminal) complain(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			t.complain(e)
		}
		return
	}
	fmt.Fprintf(t.err, "tagpin: %v\n", err)
}

// exitError is an error with the exit code of the command.
type exitError struct {
	code int
	error
}

// run runs the command that args name and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := terminal{stdin, stdout, stderr}
	if len(args) == 0 {
		fmt.Fprint(t.err, help)
		return exitUsage
	}
	err := runCommand(ctx, args[0], args[1:], t)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	exit := exitError{exitUsage, err}
	errors.As(err, &exit)
	if exit.error != nil {
		t.complain(exit.error)
	}
	return exit.code
}

func runCommand(ctx context.Context, name string, args []string, t terminal) error {
	if name == "help" && len(args) > 0 {
		name, args = args[0], []string{"--help"}
	}
	switch name {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(t.out, help)
		return nil
	case "pin":
		return runPin(ctx, args, t)
	case "resolve":
		return runResolve(ctx, args, t)
	case "version", "-version", "--version":
		return runVersion(args, t)
	}
	return fmt.Errorf("unknown command %q; see tagpin help", name)
}

func runVersion(args []string, t terminal) error {
	fs := newFlags("version", "tagpin version", "Prints the version of tagpin and of Go.")
	args, err := parse(fs, args, t)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	fmt.Fprintln(t.out, "tagpin", moduleVersion(), runtime.Version())
	return nil
}

// moduleVersion returns the version of tagpin.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || version != "" {
		return cmp.Or(version, "unknown")
	}
	return info.Main.Version
}

// newFlags returns a flag set whose Usage prints the help of a command: usage, about and the flags.
func newFlags(name, usage, about string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: %s\n\n%s\n", usage, about)
		fs.PrintDefaults()
	}
	return fs
}

// parse parses the flags of a command and returns its arguments. Unlike package flag, it accepts
// flags after arguments. The error is flag.ErrHelp if parse has printed the help.
func parse(fs *flag.FlagSet, args []string, t terminal) (rest []string, err error) {
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(t.out)
			fs.Usage()
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; see tagpin help %s", fs.Name(), err, fs.Name())
		}
		n := len(args) - fs.NArg()
		if fs.NArg() == 0 || n > 0 && args[n-1] == "--" { // after --, everything is an argument
			return append(rest, fs.Args()...), nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}
