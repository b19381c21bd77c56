// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
)

// A mounted certificate is taken up when its files change, and the last good one stays while they can't be used.
func TestMountedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, c, dir := &instance{t: t}, &certificates{}, t.TempDir()
		c.mount(dir)
		var text bytes.Buffer
		log := newLogger(&text, zapcore.InfoLevel)
		i.certificates(dir)
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
		i.certificates(dir)
		next()
		second := c.leaf.Load().Leaf
		if second.Equal(first) {
			t.Error("the files were changed, and the former certificate is served")
		}
		if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("half of a"), 0o600); err != nil {
			t.Fatal(err)
		}
		next()
		next()
		if err := c.ready(nil); err != nil || !c.leaf.Load().Leaf.Equal(second) {
			t.Errorf("with files that can't be used: ready %v, serving %v, want the last good one", err, c.leaf.Load().Leaf.SerialNumber)
		}
		i.certificates(dir)
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

// A certificate of files that is not valid now is not served in place of one that is, and a server
// that has no other is not ready.
func TestMountedCertificateOfTheFuture(t *testing.T) {
	i, c, dir := &instance{t: t}, &certificates{}, t.TempDir()
	c.mount(dir)
	var ahead time.Duration
	c.now = func() time.Time { return time.Now().Add(ahead) }
	i.certificates(dir)
	if err := c.read(logr.Discard()); err != nil || c.ready(nil) != nil {
		t.Fatalf("read = %v, ready %v", err, c.ready(nil))
	}
	first := c.leaf.Load()
	ahead = -90 * time.Minute // as the files were made by a clock that is ahead by that
	fresh := &certificates{now: c.now}
	fresh.mount(dir)
	if err := fresh.read(logr.Discard()); err != nil || !errors.Is(fresh.ready(nil), errNotBegun) {
		t.Errorf("one that starts: read = %v, ready %v, want %v", err, fresh.ready(nil), errNotBegun)
	}
	first.Leaf.NotBefore = first.Leaf.NotBefore.Add(-24 * time.Hour) // what it serves is valid
	i.certificates(dir)
	if err := c.read(logr.Discard()); !errors.Is(err, errNotBegun) || c.leaf.Load() != first {
		t.Errorf("read = %v, and serves the new one: %t, want the one that is valid", err, c.leaf.Load() != first)
	}
	ahead = 0
	if err := c.read(logr.Discard()); err != nil || c.leaf.Load() == first {
		t.Errorf("an hour later: read = %v, and serves the former one: %t", err, c.leaf.Load() == first)
	}
}
