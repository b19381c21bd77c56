// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval is how long a change goes unseen where the file system tells of none.
const pollInterval = 30 * time.Second

// Source is the config of a file that may change. Open makes it.
type Source struct {
	path    string
	current atomic.Pointer[Config]
	data    []byte // what was read last, good or bad; Run's alone
}

// Open loads the file; an empty path gives the defaults, which never change.
func Open(path string) (*Source, error) {
	s := &Source{path: path}
	if path == "" {
		s.current.Store(Default())
		return s, nil
	}
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	s.data = data
	s.current.Store(c)
	return s, nil
}

// Current is the last good config. It is not to be changed.
func (s *Source) Current() *Config { return s.current.Load() }

// Run looks for changes until ctx ends. Each changed file is given to changed: a config to take up, or an error. What it
// refuses, by an error of its own, does not become current either; it gets no second call for that. The directory is
// watched, not the file: a ConfigMap is replaced by a symbolic link to another directory.
func (s *Source) Run(ctx context.Context, changed func(*Config, error) error) error {
	if s.path == "" {
		<-ctx.Done()
		return nil
	}
	var events <-chan fsnotify.Event
	var faults <-chan error
	if watcher, err := fsnotify.NewWatcher(); err == nil { // a node may be out of inotify watches: then polling is all
		defer func() { _ = watcher.Close() }()
		if watcher.Add(filepath.Dir(s.path)) == nil {
			events, faults = watcher.Events, watcher.Errors
		}
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	s.look(changed) // what came between Open and the watch
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
		case <-faults: //nolint:errcheck // any fault: events may be lost, so look
		case <-ticker.C:
		}
		s.look(changed)
	}
}

// look reads the file and tells of it where it is not what it was.
func (s *Source) look(changed func(*Config, error) error) {
	data, err := read(s.path)
	if err != nil {
		if s.data != nil { // tell it once
			_ = changed(nil, err)
		}
		s.data = nil
		return
	}
	if bytes.Equal(data, s.data) {
		return
	}
	s.data = data
	c, err := Parse(data)
	if err != nil {
		_ = changed(nil, fmt.Errorf("config %s: %w", s.path, err))
		return
	}
	if changed(c, nil) == nil {
		s.current.Store(c)
	}
}
