// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// prefix begins the names of the folders and the cgroups of nodes. Nothing else is ever removed.
const prefix = "tagpin-node-"

// place is where a node's files are, and by its name the cgroup of its pods.
type place struct {
	dir  string
	lock *os.File // locked as long as this process or the node's first is there
}

// newPlace makes one. Its lock is there from the moment that others see it, so that none of them sweeps it away.
func newPlace() (*place, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir}
	hidden := filepath.Join(dir, "new")
	if p.lock, err = lock(hidden, os.O_CREATE|os.O_RDWR); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := errors.Join(os.Rename(hidden, p.lockFile()), makeCgroups(p.name())); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

func (p *place) name() string     { return filepath.Base(p.dir) }
func (p *place) lockFile() string { return filepath.Join(p.dir, "lock") }

// remove removes all of it, when the processes in the cgroup have ended.
func (p *place) remove() error {
	return errors.Join(removeCgroups(p.name()), os.RemoveAll(p.dir), p.lock.Close())
}

// lock opens a file and locks it, or fails where another process has.
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

// sweep removes the places of nodes whose processes were killed: those that nobody has locked.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		p := &place{dir: dir}
		switch p.lock, err = lock(p.lockFile(), os.O_RDWR); {
		case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist): // it runs, or is just made or swept
		case err != nil:
			errs = append(errs, err)
		default:
			errs = append(errs, p.remove())
		}
	}
	return errors.Join(errs...)
}
