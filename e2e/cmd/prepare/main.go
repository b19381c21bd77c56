// SPDX-License-Identifier: Apache-2.0

// Command prepare builds the programs that the tests of this module run: Kubernetes, Helm and
// registries. They stay in the user's cache folder, so that only the first run takes minutes:
//
//	cd e2e && go run ./cmd/prepare
//
// With the argument neighbours it builds what the tests in neighbours run: Kubernetes and the
// neighbours.
//
// The tests build what is missing too, but the time limit of go test includes that.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tagpin/tagpin/e2e/interrupt"
	"github.com/tagpin/tagpin/e2e/tools"
)

func main() {
	ctx, stop := interrupt.Context()
	err := prepare(ctx, os.Stderr, slices.Contains(os.Args[1:], "neighbours"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

// prepare builds what is missing, without a time limit.
func prepare(ctx context.Context, progress io.Writer, neighbours bool) error {
	kubernetes, err := tools.Build(ctx, progress)
	if err != nil {
		return err
	}
	if neighbours {
		return tools.BuildNeighbours(ctx, progress)
	}
	if kubernetes.Newest { // the tests with others have no other registries
		if _, err := tools.BuildRegistries(ctx, progress); err != nil {
			return err
		}
	}
	_, err = tools.Helm(ctx, progress)
	return err
}
