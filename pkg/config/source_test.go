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

// mount lays a file out as the kubelet mounts a ConfigMap: a link to a link to a directory.
type mount struct {
	t   *testing.T
	dir string
	n   int
}

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

type change struct {
	config *config.Config
	err    error
}

// mounted is a source of a mounted file, which runs.
type mounted struct {
	*mount
	source  *config.Source
	changes chan change
}

func run(t *testing.T, dir, first string, take func(*config.Config) error) *mounted {
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
		done <- m.source.Run(ctx, take, func(c *config.Config, err error) { m.changes <- change{c, err} })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return m
}

func TestReload(t *testing.T) {
	m := run(t, t.TempDir(), head+"output: digest\n", func(*config.Config) error { return nil })
	first := m.source.Current()
	m.write(head + "output: wrong\n")
	if got := <-m.changes; got.err == nil || m.source.Current() != first {
		t.Errorf("a bad file gave %+v, want an error, and the first one kept", got.config)
	}
	m.write(head + "output: tag-and-digest\n")
	if got := <-m.changes; got.err != nil || m.source.Current() != got.config {
		t.Errorf("a good file gave %v, and Current is %+v, want it", got.err, m.source.Current())
	}
}

// What is refused is asked for again, when what it waits for may have come; each reason is told once.
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
			t.Errorf("without %s: %+v, %v, want an error that names it", file, got.config, got.err)
		}
		for _, name := range []string{"nothing to do with it", "nor this", file} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := <-m.changes; got.err != nil || m.source.Current() != got.config || got.config.MaxInFlightPerNamespace != 1 {
		t.Errorf("when all is there: %+v, %v, want it taken up", got.config, got.err)
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
