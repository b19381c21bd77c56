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
	// Run's alone:
	data    []byte  // what was read last, good or bad
	waiting *Config // what was read last, where it is good and refused
	refusal string  // why it was
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

// Run looks for changes until ctx ends. Each changed config is given to take, which may refuse it by an error: then it does not
// become current, and take is asked again from time to time, as a file that the config names may come after it. report is told of
// each config that was taken, and of each error that is another than before. The directory is watched, not the file: a ConfigMap
// is replaced by a symbolic link to another directory.
func (s *Source) Run(ctx context.Context, take func(*Config) error, report func(*Config, error)) error {
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
	s.look(take, report) // what came between Open and the watch
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
		case <-faults: //nolint:errcheck // any fault: events may be lost, so look
		case <-ticker.C:
		}
		s.look(take, report)
	}
}

// look reads the file and takes it up where it is not what it was, or was refused.
func (s *Source) look(take func(*Config) error, report func(*Config, error)) {
	data, err := read(s.path)
	if err != nil {
		if s.data != nil { // tell it once
			report(nil, err)
		}
		s.data, s.waiting = nil, nil
		return
	}
	if !bytes.Equal(data, s.data) {
		s.data, s.refusal = data, ""
		if s.waiting, err = Parse(data); err != nil {
			report(nil, fmt.Errorf("config %s: %w", s.path, err))
		}
	}
	if s.waiting != nil {
		s.take(take, report)
	}
}

func (s *Source) take(take func(*Config) error, report func(*Config, error)) {
	c := s.waiting
	err := take(c)
	if err == nil {
		s.current.Store(c)
		s.waiting = nil
		report(c, nil)
	} else if err.Error() != s.refusal {
		s.refusal = err.Error()
		report(nil, err)
	}
}
