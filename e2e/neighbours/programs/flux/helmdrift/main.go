// SPDX-License-Identifier: Apache-2.0

// Command helmdrift detects drift as Flux's helm-controller does, with the library that it uses for
// that. It reads the objects of a release as YAML from stdin, and prints how the cluster of
// KUBECONFIG differs from them, a line for each object.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/fluxcd/pkg/ssa/jsondiff"
	"github.com/fluxcd/pkg/ssa/utils"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "helmdrift:", err)
		os.Exit(1)
	}
}

// run compares objects, with the options of helm-controller.
func run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	objects, err := utils.ReadObjects(stdin)
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	diffs, err := jsondiff.UnstructuredList(ctx, c, objects, jsondiff.FieldOwner("helm-controller"),
		jsondiff.MaskSecrets(true), jsondiff.Rationalize(true), jsondiff.Graceful(true))
	if err != nil {
		return err
	}
	for _, d := range diffs {
		fmt.Fprintf(stdout, "%s/%s: %s", d.GroupVersionKind().Kind, d.GetName(), d.Type)
		for _, o := range d.Patch {
			fmt.Fprintf(stdout, " %s %s", o.Type, o.Path)
		}
		fmt.Fprintln(stdout)
	}
	return nil
}
