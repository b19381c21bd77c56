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

// floorCommand makes the program the floor: floor DIR PORT.
const floorCommand = "floor"

// serveFloor serves /enforce as the least that a webhook on controller-runtime can do.
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

// newFloor decodes a review, as controller-runtime does, and answers one fixed patch.
func newFloor() *admission.Webhook {
	patch := jsonpatch.NewOperation("replace", "/spec/containers/0/image", "registry.example/app:1@sha256:0000")
	return &admission.Webhook{Handler: admission.HandlerFunc(func(context.Context, admission.Request) admission.Response {
		return admission.Patched("", patch)
	})}
}
