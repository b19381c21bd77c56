// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a Kubernetes API server with tagpin as its webhook until it is interrupted,
// so that you can try tagpin with kubectl.
//
//	cd e2e && go run ./cmd/cluster
//
// It prints its progress to stderr, and what to try to stdout. The Enter key moves a tag. It leaves
// nothing behind except the binaries of Kubernetes in the user's cache folder.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/interrupt"
	"github.com/tagpin/tagpin/e2e/registry"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// Whatever ends this program has to end the API server too.
	ctx, stop := interrupt.Context()
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run returns when everything that it started has ended, after the end of ctx.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "cluster: unexpected argument %q; it takes no arguments\n", args[0])
		return exitUsage
	}
	err := serve(ctx, stdin, stdout, stderr)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// serve starts the cluster, prints the guide, and waits until ctx ends.
func serve(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	c, err := cluster.Start(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(stderr, "\nstopping")
		if err := c.Stop(); err != nil {
			fmt.Fprintf(stderr, "cluster: stopping: %v\n", err)
		}
	}()
	ctx, end := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { end(keepAccounts(ctx, c.Client)) })
	defer wg.Wait()
	defer end(nil)
	if err := prepare(ctx, c); err != nil {
		return err
	}
	if _, err := fmt.Fprint(stdout, guide(c)); err != nil {
		return err
	}
	return moveTags(ctx, c.Open, lines(ctx, stdin), stderr)
}

// moveTags moves the tag for each line, until ctx ends.
func moveTags(
	ctx context.Context, at *registry.Registry, lines <-chan struct{}, stderr io.Writer,
) error {
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case _, ok := <-lines:
			if !ok {
				lines = nil // stdin has ended: the tag stays
				continue
			}
			digest, err := at.PushImage(movingTag)
			if err != nil {
				return err
			}
			fmt.Fprintf(stderr, "%s/%s is now %s\n", at.Host, movingTag, digest)
		}
	}
}

// lines sends a value for each line of r. A read from a terminal can't be interrupted, so the
// goroutine may outlive ctx until the next line.
func lines(ctx context.Context, r io.Reader) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case c <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}
