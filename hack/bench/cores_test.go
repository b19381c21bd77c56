// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"testing"
)

// TestOnCores checks where a process that on starts may run, and that on calls start without
// cores too.
func TestOnCores(t *testing.T) {
	all, err := allowedCores()
	if err != nil {
		t.Fatal(err)
	}
	c := cores{pinned: len(all) > 0, all: all}
	if c.pinned {
		c.server, c.load = all[0], all[len(all)-1]
	}
	var during []int
	wrong := errors.New("wrong")
	err = c.asServer(func() (err error) {
		during, err = allowedCores() // of the thread that would start the process
		return errors.Join(wrong, err)
	})
	if !errors.Is(err, wrong) {
		t.Errorf("asServer = %v, want the error of start", err)
	}
	if c.pinned && !slices.Equal(during, []int{c.server}) {
		t.Errorf("start ran on cores %v, want %d", during, c.server)
	}
	err = c.everywhere(func() (err error) {
		during, err = allowedCores()
		return err
	})
	if err != nil || !slices.Equal(during, all) {
		t.Errorf("start ran on cores %v, %v, want %v", during, err, all)
	}
}

func TestCoresNotPinned(t *testing.T) {
	called := false
	err := cores{}.asServer(func() error { called = true; return nil })
	if err != nil || !called {
		t.Errorf("asServer = %v, called = %t, want nil and true", err, called)
	}
}
