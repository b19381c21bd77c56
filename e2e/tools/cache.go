// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// keepFor is how long an unused folder stays in the cache.
	keepFor = 14 * 24 * time.Hour
	// lockInterval is the time between two attempts to get the lock.
	lockInterval = 100 * time.Millisecond
)

// cached returns the folder key in parent, which fill fills if it is missing. fill gets another
// folder, which is renamed afterwards, so that a folder is complete or missing. The caller holds
// the lock of parent.
func cached(parent, key string, fill func(dir string) error) (dir string, err error) {
	if dir, ok := complete(parent, key); ok {
		return dir, nil
	}
	prune(parent)
	unfinished, err := os.MkdirTemp(parent, "unfinished-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(unfinished) }()
	if err := fill(unfinished); err != nil {
		return "", err
	}
	dir = filepath.Join(parent, key)
	return dir, os.Rename(unfinished, dir)
}

// complete returns the folder key in parent, and whether it is there. It needs no lock. The folder
// then stays for keepFor.
func complete(parent, key string) (dir string, ok bool) {
	dir = filepath.Join(parent, key)
	now := time.Now()
	return dir, os.Chtimes(dir, now, now) == nil
}

// folder returns a folder in the user's cache, and creates it if it is missing.
func folder(name string) (path string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path = filepath.Join(cache, "tagpin", name)
	return path, os.MkdirAll(path, 0o755)
}

// lock locks a folder, so that no other process builds the same at the same time. It reports to
// progress that it has to wait. The lock ends with the process.
func lock(ctx context.Context, progress io.Writer, folder string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, file.Close())
		}
		if !said {
			fmt.Fprintf(progress, "waiting for another process, which fills %s\n", folder)
		}
		select {
		case <-ctx.Done():
			err := fmt.Errorf("waiting for the process that fills %s: %w", folder, ctx.Err())
			return nil, errors.Join(err, file.Close())
		case <-time.After(lockInterval):
		}
	}
}

// prune removes folders that were not used for a long time. Errors don't matter.
func prune(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && time.Since(info.ModTime()) > keepFor {
			_ = os.RemoveAll(filepath.Join(parent, e.Name()))
		}
	}
}
