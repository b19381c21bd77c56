// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tagpin/tagpin/pkg/process"
)

// newLogger returns the logger of the server.
func newLogger(w io.Writer, level zapcore.Level) logr.Logger {
	return process.NewLogger(w, level, zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return withoutProbes{c}
	}))
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
