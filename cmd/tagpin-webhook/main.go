// SPDX-License-Identifier: Apache-2.0

// Command tagpin-webhook is the admission webhook: it serves /enforce, /dry-run and /keep over TLS, and probes and metrics
// beside them.
//
//	tagpin-webhook --config /etc/tagpin/config.yaml --cert-dir /etc/tagpin/tls
//	tagpin-webhook manifests --config config.yaml
//
// The second prints the registration that goes with a config.
// What it does is in the config file; its flags say where it listens and what it reads.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tagpin/tagpin/pkg/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it ran, or could not start, for a reason outside of its settings
	exitUsage  = 2 // a flag or the config is wrong
)

// The parts of an end, from SIGTERM to the end of the process. Their sum stays under the chart's
// terminationGracePeriodSeconds.
const (
	// drainTime is how long the server keeps serving: until then, an API server that has not heard
	// yet that this replica is going may still send it reviews.
	drainTime = 10 * time.Second
	// reviewTime is how long reviews under way may take after that: as long as an API server waits
	// for them, with the longest timeoutSeconds that the chart accepts.
	reviewTime = 15 * time.Second
	// shutdownTime is when the manager gives up waiting for its servers.
	shutdownTime = reviewTime + 500*time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run serves until ctx ends, or writes manifests.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "manifests" {
		return manifests(args[1:], stdout, stderr)
	}
	return serve(ctx, args, stdout, stderr, drainTime)
}

func serve(ctx context.Context, args []string, stdout, stderr io.Writer, drain time.Duration) int {
	o, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		complain(stderr, err)
		return exitUsage
	case o.version:
		_, _ = fmt.Fprintln(stdout, versionText())
		return exitOK
	}
	file := config.File(o.config)
	c, err := file.Look()
	if err != nil {
		complain(stderr, fmt.Errorf("config: %w", err))
		return exitUsage
	}
	log := newLogger(stderr, o.logLevel)
	ctrllog.SetLogger(log)
	redirect(log)
	limitMemory(os.DirFS("/"), os.Getenv("GOMEMLIMIT"), log)
	s := &server{options: o, config: c, configFile: file, log: log, drain: drain}
	if err := s.run(logr.NewContext(ctx, log)); err != nil {
		complain(stderr, err)
		if errors.Is(err, errSettings) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

func complain(stderr io.Writer, err error) { _, _ = fmt.Fprintf(stderr, "tagpin-webhook: %v\n", err) }

// newLogger writes JSON, one object a line, and every line: controller-runtime's own drops most of those that come often,
// and each review has its line.
func newLogger(w io.Writer, level zapcore.Level) logr.Logger {
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(format), zapcore.Lock(zapcore.AddSync(w)), level)
	return zapr.NewLogger(zap.New(core))
}

// version is set by the build; without it, it is the module's.
var version string

// moduleVersion is the version of tagpin.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || version != "" {
		return cmp.Or(version, "unknown")
	}
	return info.Main.Version
}

// versionText is the version of tagpin and of Go.
func versionText() string { return "tagpin-webhook " + moduleVersion() + " " + runtime.Version() }

// userAgent tells registries who asks.
func userAgent() string { return "tagpin/" + moduleVersion() }
