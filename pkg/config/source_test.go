// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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

func TestReload(t *testing.T) {
	m := &mount{t: t, dir: t.TempDir()}
	m.write(head + "output: digest\n")
	path := filepath.Join(m.dir, "config.yaml")
	if err := os.Symlink(filepath.Join("..data", "config.yaml"), path); err != nil {
		t.Fatal(err)
	}
	source, err := config.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	changes, done := make(chan change), make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	refuse := errors.New("refused")
	go func() {
		done <- source.Run(ctx, func(c *config.Config, err error) error {
			changes <- change{c, err}
			if err == nil && c.MaxInFlightPerNamespace == 1 {
				return refuse
			}
			return nil
		})
	}()
	m.write(head + "output: wrong\n")
	if got := <-changes; got.err == nil {
		t.Errorf("a bad file gave %+v, want an error", got.config)
	}
	m.write(head + "maxInFlightPerNamespace: 1\n")
	if got := <-changes; got.err != nil {
		t.Errorf("a good file gave %v", got.err)
	}
	m.write(head + "output: tag-and-digest\n")
	got := <-changes
	if got.err != nil {
		t.Errorf("a good file gave %v", got.err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if current := source.Current(); current != got.config {
		t.Errorf("Current() = %+v, want the last good one", current)
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
