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
// is asked, at most once an Interval; a change that can't be read is reported, and what was read before stays. Safe for
// concurrent use.
type File struct {
	// Path of the file. Empty: no credentials.
	Path string
	// Interval between two looks at the file. Default: 1 s.
	Interval time.Duration
	// Report is told once of each version of the file that can't be read, or not whole. Default: nobody is.
	Report func(error)

	mu     sync.Mutex
	ring   *Keyring
	looked time.Time
	seen   version
}

// version tells two states of a file apart without reading it.
type version struct {
	modified time.Time
	size     int64
	err      string // why there is none
}

// Credentials gives what the file holds for r, marked as shared.
func (f *File) Credentials(_ context.Context, r ref.Reference, _ bool) []Credential {
	if f == nil || f.Path == "" {
		return nil
	}
	return shared(Lookup(r, f.current()))
}

func (f *File) current() *Keyring {
	f.mu.Lock()
	defer f.mu.Unlock()
	interval := f.Interval
	if interval == 0 {
		interval = time.Second
	}
	now := time.Now()
	if !f.looked.IsZero() && now.Sub(f.looked) < interval {
		return f.ring
	}
	f.looked = now
	at := stat(f.Path)
	if at == f.seen {
		return f.ring
	}
	f.seen = at
	ring, err := readFile(f.Path)
	switch {
	case err != nil:
	case ring.Malformed() > 0:
		f.ring, err = ring, fmt.Errorf("%d malformed entries", ring.Malformed())
	default:
		f.ring = ring
	}
	if err != nil && f.Report != nil {
		f.Report(fmt.Errorf("reading Docker config %s: %w", f.Path, err))
	}
	return f.ring
}

func stat(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{err: err.Error()}
	}
	return version{modified: info.ModTime(), size: info.Size()}
}

// readFile reads a Docker config.
func readFile(path string) (*Keyring, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	return ParseDockerConfig(data)
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
