// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"errors"
	"fmt"
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
	dir = filepath.Join(parent, key)
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
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
	return dir, os.Rename(unfinished, dir)
}

// folder returns a folder in the user's cache. Until it is unlocked, no other process can use it.
func folder(ctx context.Context, name string) (path string, unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(cache, "tagpin", name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", nil, err
	}
	if unlock, err = lock(ctx, filepath.Join(path, "lock")); err != nil {
		return "", nil, fmt.Errorf("waiting for the process that fills %s: %w", path, err)
	}
	return path, unlock, nil
}

// lock locks a file, so that no other process builds the same at the same time. The lock ends with
// the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
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
