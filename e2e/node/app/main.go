// SPDX-License-Identifier: Apache-2.0

// Command app answers over HTTP, on port 8080, with the text in the file /code of its image.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// serve serves until a signal asks it to end.
func serve() error {
	code, err := os.ReadFile("/code")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	answer := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(code) // it fails only if the connection does
	}
	server := &http.Server{
		Addr: ":8080", ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(answer),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
