// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"gomodules.xyz/jsonpatch/v2"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// floorCommand is the first argument with which this program runs as the floor: floor DIR PORT.
const floorCommand = "floor"

// serveFloor serves the floor at /enforce: a webhook on controller-runtime that does as little as
// possible.
func serveFloor(ctx context.Context, dir, port string, stderr io.Writer) int {
	number, err := strconv.Atoi(port)
	if err != nil {
		fmt.Fprintln(stderr, "floor:", err)
		return 2
	}
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: number, CertDir: dir})
	server.Register("/enforce", newFloor())
	if err := server.Start(ctx); err != nil {
		fmt.Fprintln(stderr, "floor:", err)
		return 1
	}
	return 0
}

// newFloor returns a webhook that decodes a review and responds with a constant patch.
func newFloor() *admission.Webhook {
	const image = "registry.example/app:1@sha256:0000"
	patch := jsonpatch.NewOperation("replace", "/spec/containers/0/image", image)
	handle := func(context.Context, admission.Request) admission.Response {
		return admission.Patched("", patch)
	}
	return &admission.Webhook{Handler: admission.HandlerFunc(handle)}
}
