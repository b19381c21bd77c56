// SPDX-License-Identifier: Apache-2.0

// Package process sets up a process that serves until it is stopped: the format of its log, and the
// memory that Go may use. The webhook and tagpin audit --listen run in pods of one chart, and both
// do so.
//
//	log := process.NewLogger(os.Stderr, zapcore.InfoLevel)
//	process.LogLibraries(log)
//	process.LimitMemory(os.DirFS("/"), log)
//
// It reads neither flags nor the environment.
package process

import (
	"bytes"
	"flag"
	"io"
	"log"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
	"k8s.io/klog/v2"
)

// NewLogger returns a logger that writes each line as a JSON object. The one of controller-runtime
// drops most of the lines that are frequent, and each review must have its line.
func NewLogger(w io.Writer, level zapcore.Level, options ...zap.Option) logr.Logger {
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	out := zapcore.Lock(zapcore.AddSync(w))
	core := zapcore.NewCore(zapcore.NewJSONEncoder(format), out, level)
	return zapr.NewLogger(zap.New(core, options...))
}

// LogLibraries makes libraries that use the standard logger, and client-go, which uses klog, write
// to our log.
func LogLibraries(to logr.Logger) {
	to = to.WithName("library")
	w := libraryWriter{to, &rate.Sometimes{First: 10, Interval: 10 * time.Second}}
	log.SetFlags(0)
	log.SetOutput(w)
	klog.LogToStderr(false) // klog.SetLogger must not be called while something may log
	klog.SetOutput(io.Discard)
	klog.SetOutputBySeverity("INFO", w) // and all that is more severe
	// By default, klog also writes errors to os.Stderr, which has another format.
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("stderrthreshold", "FATAL") // a constant that klog knows
}

// unsolicited begins a line of Go's HTTP client that quotes what a registry sent without a request.
// A registry could put anything into the log (net/http, readLoopPeekFailLocked).
const unsolicited = "Unsolicited response received on idle HTTP channel"

// libraryWriter is a writer for the standard logger, which writes one line at a time.
type libraryWriter struct {
	log logr.Logger
	// registries limits the lines that registries can cause, of which each lookup may cause several:
	// the first ten, and then at most one every ten seconds.
	registries *rate.Sometimes
}

func (l libraryWriter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(unsolicited)) {
		l.registries.Do(func() { l.log.Info("a registry sent a response without a request") })
	} else {
		l.log.Info(string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}
