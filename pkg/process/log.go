// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"log"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// newLogger returns a logger that writes each line as a JSON object. The one of controller-runtime
// drops most of the lines that are frequent, and each review must have its line.
func newLogger(w io.Writer, level zapcore.Level) logr.Logger {
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	out := zapcore.Lock(zapcore.AddSync(w))
	core := zapcore.NewCore(zapcore.NewJSONEncoder(format), out, level)
	return zapr.NewLogger(zap.New(withoutProbes{core}))
}

// probesLogger is the logger by which controller-runtime writes a line for each failed probe. It
// does not say why the probe failed; reported does.
const probesLogger = "controller-runtime.healthz"

// withoutProbes is a Core that drops the lines of probesLogger.
type withoutProbes struct{ zapcore.Core }

// With implements zapcore.Core.
func (w withoutProbes) With(fields []zapcore.Field) zapcore.Core {
	return withoutProbes{w.Core.With(fields)}
}

// Check implements zapcore.Core.
func (w withoutProbes) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.LoggerName == probesLogger {
		return c
	}
	return w.Core.Check(e, c)
}

// logLibraries makes libraries that use the standard logger, and client-go, which uses klog, write
// to our log.
func logLibraries(to logr.Logger) {
	to = to.WithName("library")
	log.SetFlags(0)
	log.SetOutput(libraryWriter{to})
	klog.LogToStderr(false) // klog.SetLogger must not be called while something may log
	klog.SetOutput(io.Discard)
	klog.SetOutputBySeverity("INFO", libraryWriter{to}) // and all that is more severe
}

// unsolicited begins a line of Go's HTTP client that quotes what a registry sent without a request.
// A registry could put anything into the log (net/http, readLoopPeekFailLocked).
const unsolicited = "Unsolicited response received on idle HTTP channel"

// libraryWriter is a writer for the standard logger, which writes one line at a time.
type libraryWriter struct{ log logr.Logger }

func (l libraryWriter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(unsolicited)) {
		l.log.Info("a registry sent a response without a request")
	} else {
		l.log.Info(string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}
