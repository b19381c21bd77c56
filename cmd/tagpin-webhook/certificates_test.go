// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"
)

// A mounted certificate is taken up when its files change, and the last good one stays while they can't be used.
func TestMountedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, c := &instance{t: t}, &certificates{dir: t.TempDir()}
		var text bytes.Buffer
		log := newLogger(&text, zapcore.InfoLevel)
		i.certificates(c.dir)
		if err := c.read(log); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.poll(ctx, log)
		}()
		next := func() {
			time.Sleep(readInterval)
			synctest.Wait()
		}
		first := c.leaf.Load().Leaf
		i.certificates(c.dir)
		next()
		second := c.leaf.Load().Leaf
		if second.Equal(first) {
			t.Error("the files were changed, and the former certificate is served")
		}
		if err := os.WriteFile(filepath.Join(c.dir, "tls.key"), []byte("half of a"), 0o600); err != nil {
			t.Fatal(err)
		}
		next()
		next()
		if err := c.ready(nil); err != nil || !c.leaf.Load().Leaf.Equal(second) {
			t.Errorf("with files that can't be used: ready %v, serving %v, want the last good one", err, c.leaf.Load().Leaf.SerialNumber)
		}
		i.certificates(c.dir)
		next()
		if c.leaf.Load().Leaf.Equal(second) {
			t.Error("the files are good again, and the former certificate is served")
		}
		stop()
		<-done
		if refused, serving := strings.Count(text.String(), "refused"), strings.Count(text.String(), "serving"); refused != 1 || serving != 4 {
			t.Errorf("the log has %d refusals, want 1, and %d certificates served and refused, want 4:\n%s", refused, serving, text.String())
		}
	})
}
