// SPDX-License-Identifier: Apache-2.0

// Package baseline has the webhooks that tagpin is compared with. Both respond with a constant
// patch, and neither looks an image up.
//
//   - The floor is a webhook on controller-runtime that decodes the review.
//   - Raw is a bare server of net/http. It finds the review's UID by a search of the bytes.
//
// A program that measures starts itself again as one of them:
//
//	if baseline.Is(os.Args[1:]) {
//		err = baseline.Serve(ctx, os.Args[1:])
//	}
package baseline

import (
	"context"
	"fmt"
	"strconv"
)

// The commands with which a program becomes a server, each as Arguments returns it.
const (
	Floor = "floor"
	Raw   = "raw"
)

// Arguments returns the arguments with which a program serves at a port of 127.0.0.1. dir has its
// certificate, tls.crt and tls.key.
func Arguments(command, dir, port string) []string { return []string{command, dir, port} }

// Is reports whether the arguments of a program make it a server.
func Is(args []string) bool { return len(args) == 3 && (args[0] == Floor || args[0] == Raw) }

// Serve serves reviews at /enforce until ctx is done.
func Serve(ctx context.Context, args []string) error {
	command, dir := args[0], args[1]
	port, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("invalid port: %w", err)
	}
	if command == Raw {
		return serveRaw(ctx, dir, port)
	}
	return serveFloor(ctx, dir, port)
}

// Image is what both replace the first image with.
const Image = "registry.example/app:1@sha256:0000"
