// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/config"
)

// mount is a directory that a ConfigMap is mounted to. As with the kubelet, the file is a link into
// a link to a directory.
type mount struct {
	t   *testing.T
	dir string
	n   int // versions written
}

// write replaces the content of the file.
func (m *mount) write(text string) {
	m.t.Helper()
	m.n++
	version := filepath.Join(m.dir, "..version"+string(rune('0'+m.n)))
	for _, err := range []error{
		os.Mkdir(version, 0o700),
		os.WriteFile(filepath.Join(version, "config.yaml"), []byte(text), 0o600),
		os.Symlink(version, filepath.Join(m.dir, "..tmp")),
		os.Rename(filepath.Join(m.dir, "..tmp"), filepath.Join(m.dir, "..data")),
	} {
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// change is one call of Run's report function.
type change struct {
	config *config.Config
	err    error
}

// mounted is a mounted file with its source, whose Run has been started.
type mounted struct {
	*mount
	source  *config.Source
	changes chan change
}

func run(t *testing.T, dir, first string, accept func(*config.Config) error) *mounted {
	t.Helper()
	m := &mounted{mount: &mount{t: t, dir: dir}, changes: make(chan change)}
	m.write(first)
	path := filepath.Join(m.dir, "config.yaml")
	if err := os.Symlink(filepath.Join("..data", "config.yaml"), path); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.source, err = config.Open(path); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		report := func(c *config.Config, err error) { m.changes <- change{c, err} }
		done <- m.source.Run(ctx, accept, report)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return m
}

func TestReload(t *testing.T) {
	m := run(t, t.TempDir(), head+"output: digest\n", func(*config.Config) error { return nil })
	first := m.source.Current()
	m.write(head + "output: wrong\n")
	if got := <-m.changes; got.err == nil || m.source.Current() != first {
		t.Errorf("report of an invalid file = %+v, %v, want an error and Current unchanged",
			got.config, got.err)
	}
	m.write(head + "output: tag-and-digest\n")
	if got := <-m.changes; got.err != nil || m.source.Current() != got.config {
		t.Errorf("report of a valid file = %v, Current() = %+v, want it to be current",
			got.err, m.source.Current())
	}
}

// TestRefusedIsTriedAgain tests that a refused config is tried again after a change in the
// directory, and that each reason of a refusal is reported once.
func TestRefusedIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	m := run(t, dir, head, func(c *config.Config) error {
		if c.MaxInFlightPerNamespace != 1 {
			return nil
		}
		_, errFirst := os.Stat(filepath.Join(dir, "ca.crt"))
		_, errSecond := os.Stat(filepath.Join(dir, "ca2.crt"))
		return errors.Join(errFirst, errSecond)
	})
	m.write(head + "maxInFlightPerNamespace: 1\n")
	for _, file := range []string{"ca.crt", "ca2.crt"} {
		if got := <-m.changes; got.err == nil || !strings.Contains(got.err.Error(), file) {
			t.Errorf("report without %s = %+v, %v, want an error that names it",
				file, got.config, got.err)
		}
		for _, name := range []string{"unrelated", "also unrelated", file} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := <-m.changes; got.err != nil || m.source.Current() != got.config ||
		got.config.MaxInFlightPerNamespace != 1 {
		t.Errorf("report with all files = %+v, %v, want the config to be current",
			got.config, got.err)
	}
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if _, err := config.Open(path); err == nil {
		t.Error("Open of a missing file = nil, want an error")
	}
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Open(path); err == nil {
		t.Error("Open of 2 MiB = nil, want an error")
	}
}
