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

// pollInterval is how often the file is read if the file system reports no changes.
const pollInterval = 30 * time.Second

// Source is the config of a file that may change. Open makes it.
type Source struct {
	path    string
	current atomic.Pointer[Config]
	// The rest is for Run alone.
	data    []byte  // the content that was read last, valid or not
	pending *Config // the config in data, if it is valid and was not accepted yet
	refusal string  // why pending was refused last
}

// Open loads the file. If path is empty, the source has the defaults, and never changes.
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

// Current returns the config that was accepted last. Callers must not change it.
func (s *Source) Current() *Config { return s.current.Load() }

// Run looks for changes until ctx ends.
//
// It passes each changed config to accept. If accept returns an error, the config does not become
// current, and Run tries it again later: a file that the config names may be mounted after it. Run
// reports each config that was accepted, and each error that differs from the one before.
//
// Run watches the directory and not the file, because the kubelet updates a mounted ConfigMap by
// replacing a symbolic link to another directory.
func (s *Source) Run(
	ctx context.Context, accept func(*Config) error, report func(*Config, error),
) error {
	if s.path == "" {
		<-ctx.Done()
		return nil
	}
	var events <-chan fsnotify.Event
	var errs <-chan error
	// Without a watcher, because the node is out of inotify watches, Run only polls.
	if watcher, err := fsnotify.NewWatcher(); err == nil {
		defer func() { _ = watcher.Close() }()
		if watcher.Add(filepath.Dir(s.path)) == nil {
			events, errs = watcher.Events, watcher.Errors
		}
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	s.reload(accept, report) // the file may have changed between Open and the watch
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
		case <-errs: //nolint:errcheck // events may be lost after any error, so read the file
		case <-ticker.C:
		}
		s.reload(accept, report)
	}
}

// reload reads the file, and passes the config to accept if it has changed or was refused before.
func (s *Source) reload(accept func(*Config) error, report func(*Config, error)) {
	data, err := read(s.path)
	if err != nil {
		if s.data != nil { // report the error once
			report(nil, err)
		}
		s.data, s.pending = nil, nil
		return
	}
	if !bytes.Equal(data, s.data) {
		s.data, s.refusal = data, ""
		if s.pending, err = Parse(data); err != nil {
			report(nil, fmt.Errorf("config %s: %w", s.path, err))
		}
	}
	if s.pending != nil {
		s.tryPending(accept, report)
	}
}

func (s *Source) tryPending(accept func(*Config) error, report func(*Config, error)) {
	c := s.pending
	err := accept(c)
	if err == nil {
		s.current.Store(c)
		s.pending = nil
		report(c, nil)
	} else if err.Error() != s.refusal {
		s.refusal = err.Error()
		report(nil, err)
	}
}
