// SPDX-License-Identifier: Apache-2.0

// Package playground runs a cluster in which people try tagpin, until they interrupt it. It prints
// a guide, and does what they type:
//
//	func main() { playground.Main("cluster", start) }
//
// The progress goes to stderr and the guide to stdout.
package playground

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/tagpin/tagpin/e2e/interrupt"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Playground is a cluster to try.
type Playground struct {
	// Guide says what to try. It is printed once.
	Guide string
	// Commands are called when somebody types their names. The empty name is the Enter key alone.
	// Each returns what to print. Its error ends the program.
	Commands map[string]func(context.Context) (string, error)
	// Background runs until its context ends. Its error ends the program. If nil, nothing runs.
	Background func(context.Context) error
	// Stop ends the cluster and removes everything.
	Stop func() error
}

// Start starts a playground and writes its progress. If it fails, it has left nothing behind.
type Start func(ctx context.Context, progress io.Writer) (*Playground, error)

// Main runs a playground until the program is interrupted, and exits. Whatever ends the program
// ends the playground first.
func Main(name string, start Start) {
	ctx, stop := interrupt.Context()
	code := Run(ctx, name, start, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run runs a playground until ctx ends, and returns the exit code.
func Run(
	ctx context.Context, name string, start Start,
	args []string, stdin io.Reader, stdout, stderr io.Writer,
) int {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "%s: unexpected argument %q; it takes no arguments\n", name, args[0])
		return ExitUsage
	}
	p, err := start(ctx, stderr)
	if err == nil {
		err = p.serve(ctx, stdin, stdout, stderr)
		fmt.Fprintln(stderr, "\nstopping")
		if err := p.Stop(); err != nil {
			fmt.Fprintf(stderr, "%s: stopping: %v\n", name, err)
		}
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return ExitFailed
	}
	return ExitOK
}

// serve prints the guide, and does what is typed until ctx ends.
func (p *Playground) serve(
	ctx context.Context, stdin io.Reader, stdout, stderr io.Writer,
) error {
	ctx, end := context.WithCancelCause(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer end(nil)
	if p.Background != nil {
		background.Go(func() { end(p.Background(ctx)) })
	}
	if _, err := fmt.Fprint(stdout, p.Guide); err != nil {
		return err
	}
	typed := lines(ctx, stdin)
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case line, ok := <-typed:
			if !ok {
				typed = nil // stdin has ended; nothing more can be typed
				continue
			}
			said, err := p.command(ctx, line)
			if err != nil {
				return err
			}
			fmt.Fprintln(stderr, said)
		}
	}
}

// command does what was typed, and returns what to print.
func (p *Playground) command(ctx context.Context, line string) (string, error) {
	if do := p.Commands[line]; do != nil {
		return do(ctx)
	}
	var known []string
	for _, name := range slices.Sorted(maps.Keys(p.Commands)) {
		if name != "" {
			known = append(known, name)
		}
	}
	if len(known) == 0 {
		return fmt.Sprintf("unknown command %q; there is only the Enter key", line), nil
	}
	return fmt.Sprintf("unknown command %q; there are the Enter key and %s",
		line, strings.Join(known, ", ")), nil
}

// lines sends each line of r, without spaces around it. A read from a terminal can't be
// interrupted, so the goroutine may outlive ctx until the next line.
func lines(ctx context.Context, r io.Reader) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case c <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}
