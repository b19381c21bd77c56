// SPDX-License-Identifier: Apache-2.0

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
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/printable"
	"github.com/tagpin/tagpin/pkg/process"
)

// Exit codes.
const (
	exitOK = 0
	// exitFailed says that the server ended, or could not start, for a reason outside of its settings,
	// or that a lookup of resolve or a check of verify has failed.
	exitFailed = 1
	exitUsage  = 2 // a flag or the config is wrong
)

// spareMemory is the size of an allocation that is never used. The operating system gives no memory
// for it, but the garbage collector counts it. Go collects when the heap has doubled, and the heap
// of tagpin has about 4 MiB: without the allocation, it would be collected after every hundred
// reviews, which took a tenth of the processor time. With it, a server under load has up to 16 MiB
// of garbage more. A larger GOGC would let the heap of a server with a large cache grow by much
// more.
const spareMemory = 8 << 20

func main() {
	spare := make([]byte, spareMemory) // first of all, of pages that were never used
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	runtime.KeepAlive(spare)
	os.Exit(code)
}

// run serves until ctx ends, or runs the command that the first argument names.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "manifests":
			return manifests(args[1:], os.Stdin, stdout, printable.NewWriter(stderr))
		case "resolve": // whose texts a registry or a tenant may have chosen
			stdout, stderr = printable.NewWriter(stdout), printable.NewWriter(stderr)
			return resolveImages(ctx, args[1:], stdout, stderr)
		case "verify":
			return verify(ctx, args[1:], stdout, printable.NewWriter(stderr))
		}
	}
	return serve(ctx, args, stdout, stderr, drainTime)
}

func serve(
	ctx context.Context, args []string, stdout, stderr io.Writer, drainTime time.Duration,
) int {
	o, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "tagpin-webhook: %v\n", err)
		return exitUsage
	case o.version:
		_, _ = fmt.Fprintln(stdout, "tagpin-webhook", moduleVersion(), runtime.Version())
		return exitOK
	}
	log := newLogger(stderr, o.logLevel)
	file := config.File(o.config)
	c, err := file.Look()
	if err != nil {
		log.Error(err, "can't start: the config is refused")
		return exitUsage
	}
	ctrllog.SetLogger(log)
	process.LogLibraries(log)
	process.LimitMemory(os.DirFS("/"), log)
	s := &server{options: o, config: c, configFile: file, log: log, drainTime: drainTime}
	err = s.run(logr.NewContext(ctx, log))
	switch {
	case errors.Is(err, errSettings):
		log.Error(err, "can't start")
		return exitUsage
	case err != nil:
		log.Error(err, "the server has failed")
		return exitFailed
	}
	return exitOK
}

// version is set by the build. If it is empty, the version is that of the module.
var version string

func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || version != "" {
		return cmp.Or(version, "unknown")
	}
	return info.Main.Version
}

// userAgent identifies tagpin to registries and to the OTLP endpoint.
func userAgent() string { return "tagpin/" + moduleVersion() }
