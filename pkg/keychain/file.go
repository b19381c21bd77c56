// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// maxFile bounds a Docker config: an API server takes no larger secret.
const maxFile = 1 << 20

// File is a mounted Docker config, shared by all as the one on a node is. It looks whether the file has changed when it
// is asked, at most once an Interval or when a credential was refused. A change that can't be read is reported, and what
// was read before stays, also when the file is gone. Safe for concurrent use.
type File struct {
	// Path of the file. Empty: no credentials.
	Path string
	// Interval between two looks at the file. Default: 1 s.
	Interval time.Duration
	// Report is told once of each version of the file that is malformed, and once when the file can't be read at all.
	// Default: nobody is.
	Report func(error)

	mu     sync.Mutex
	ring   *Keyring
	looked time.Time
	seen   os.FileInfo // of what was read last, be it malformed; nil: nothing was
	told   string      // why it could not be read, once that is reported
}

// Credentials gives what the file holds for r, marked as shared.
func (f *File) Credentials(_ context.Context, r ref.Reference, fresh bool) []Credential {
	if f == nil || f.Path == "" {
		return nil
	}
	auths, _ := Lookup(r, f.current(fresh)) // its author is the operator
	return shared(auths)
}

func (f *File) current(fresh bool) *Keyring {
	f.mu.Lock()
	defer f.mu.Unlock()
	interval := f.Interval
	if interval <= 0 {
		interval = time.Second
	}
	now := time.Now()
	if fresh || f.looked.IsZero() || now.Sub(f.looked) >= interval {
		f.looked = now
		if err := f.lookLocked(); err != nil && f.Report != nil {
			f.Report(fmt.Errorf("reading Docker config %s: %w", f.Path, err))
		}
	}
	return f.ring
}

// lookLocked takes up the file if it has changed. Its errors are those to report.
func (f *File) lookLocked() error {
	data, changed, err := f.readLocked()
	if err != nil {
		if f.told == err.Error() {
			return nil
		}
		f.told = err.Error()
		return err
	}
	f.told = ""
	if !changed {
		return nil
	}
	ring, err := ParseDockerConfig(data)
	if err != nil {
		return err
	}
	f.ring = ring
	if ring.Malformed() > 0 {
		return fmt.Errorf("%d malformed entries", ring.Malformed())
	}
	return nil
}

// readLocked reads the file unless it is the one that was seen: a mounted secret is another file after a change, even
// where size and time are the same.
func (f *File) readLocked() (data []byte, changed bool, err error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	if s := f.seen; s != nil && os.SameFile(s, info) && s.Size() == info.Size() && s.ModTime().Equal(info.ModTime()) {
		return nil, false, nil
	}
	data, err = io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	if err != nil {
		return nil, false, err
	}
	f.seen = info
	return data, true, nil
}

func shared(auths []authn.AuthConfig) []Credential {
	if len(auths) == 0 {
		return nil
	}
	creds := make([]Credential, len(auths))
	for i, a := range auths {
		creds[i] = Credential{Auth: a, Shared: true}
	}
	return creds
}
