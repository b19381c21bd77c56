// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"log"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// unasked is what Go's HTTP client logs before it quotes what a server sent without being asked: a registry could have it
// write anything (net/http, readLoopPeekFailLocked).
const unasked = "Unsolicited response received on idle HTTP channel"

// redirect gives what libraries write by the standard logger, and client-go by klog, to ours.
func redirect(to logr.Logger) {
	to = to.WithName("library")
	log.SetFlags(0)
	log.SetOutput(library{to})
	klog.LogToStderr(false) // SetLogger is not for when something may be logging
	klog.SetOutput(io.Discard)
	klog.SetOutputBySeverity("INFO", library{to}) // which gets the severer ones too
}

// library is a Writer for the standard logger, which writes a line at a time.
type library struct{ log logr.Logger }

func (l library) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(unasked)) {
		l.log.Info("a registry sent what nobody had asked for")
	} else {
		l.log.Info(string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}
