// SPDX-License-Identifier: Apache-2.0

// Command distribution2 runs the handlers of distribution 2.7.1, which was the image registry:2 for
// years. Its own command needs a module that is gone.
//
//	distribution2 CONFIG
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/docker/distribution/configuration"
	_ "github.com/docker/distribution/registry/auth/htpasswd" // for the access basic
	_ "github.com/docker/distribution/registry/auth/token"    // for the access bearer
	"github.com/docker/distribution/registry/handlers"
	_ "github.com/docker/distribution/registry/storage/driver/filesystem" // for the images
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve serves plain HTTP at the address of a config file, and says where.
func serve(file string) error {
	text, err := os.Open(file)
	if err != nil {
		return err
	}
	config, err := configuration.Parse(text)
	if err != nil {
		return err
	}
	ctx := context.Background()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", config.HTTP.Addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	server := &http.Server{Handler: handlers.NewApp(ctx, config), ReadHeaderTimeout: time.Minute}
	return server.Serve(listener)
}
