// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// write replaces the content of the file by its pinned content, unless somebody has changed it
// since it was read. If the path is a link, the target of the link is replaced. The mode and the
// owner stay. Another process sees either the old content or the new one.
func (s *source) write() (err error) {
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return err
	}
	// Replacing a file needs no permission to write to the file itself, so this asks for it.
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }() // if an error comes first
	info, err := old.Stat()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return s.notChanged(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, errWrite := f.Write(s.pinned)
	err = errors.Join(errWrite, keepOwner(f, info), f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err != nil {
		return s.notChanged(err)
	}
	now, err := io.ReadAll(old)
	if err = errors.Join(err, old.Close()); err != nil { // Windows can't replace an open file
		return err
	}
	current, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, s.data) || !os.SameFile(info, current) {
		return fmt.Errorf("%s: it was saved by somebody else while tagpin ran, so tagpin did not "+
			"write it; run tagpin again", s.path)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return s.notChanged(err)
	}
	return nil
}

// notChanged returns the error of a file that could not be written, with the first of its causes.
// They may name the temporary file alone.
func (s *source) notChanged(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s: it was not changed: %s", s.path, line)
}
