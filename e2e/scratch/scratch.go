// SPDX-License-Identifier: Apache-2.0

// Package scratch makes folders for a run's files. A run that is killed leaves its folder behind,
// and the next run can find and remove it:
//
//	left, err := scratch.Sweep("tagpin-cluster-", os.RemoveAll)
//	dir, err := scratch.New("tagpin-cluster-")
//	defer dir.Remove()
//
// A folder is in use as long as its lock is held: by the process that made it, or by one that
// inherited Lock.
package scratch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is the name of the lock in each folder.
const lockFile = "lock"

// Dir is a folder in use.
type Dir struct {
	Path string
	Lock *os.File // held while any process has it open
}

// New makes a folder among the system's temporary files, with a name that begins with prefix. The
// caller must call Remove.
func New(prefix string) (*Dir, error) {
	path, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	// Other processes see the lock only once it is held, so that none of them sweeps the folder away.
	hidden := filepath.Join(path, "new")
	file, err := lock(hidden, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	d := &Dir{Path: path, Lock: file}
	if err := os.Rename(hidden, filepath.Join(path, lockFile)); err != nil {
		return nil, errors.Join(err, d.Remove())
	}
	return d, nil
}

// Remove removes the folder with everything in it.
func (d *Dir) Remove() error { return errors.Join(os.RemoveAll(d.Path), d.Lock.Close()) }

// Sweep calls remove for each folder with the prefix that no process uses, while it holds the
// folder's lock. It returns these folders.
func Sweep(prefix string, remove func(path string) error) (left []string, err error) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, dir := range dirs {
		file, err := lock(filepath.Join(dir, lockFile), os.O_RDWR)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist):
			// The folder is in use, or another process has just made or swept it.
		case err != nil:
			errs = append(errs, err)
		default:
			left = append(left, dir)
			errs = append(errs, remove(dir), file.Close())
		}
	}
	return left, errors.Join(errs...)
}

// lock opens a file and locks it. If another process holds the lock, it fails with EWOULDBLOCK.
func lock(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
