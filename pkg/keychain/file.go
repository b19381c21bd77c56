// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/reload"
)

// File is a mounted Docker config that all namespaces share, as they share the one on a node. Once
// per Interval at most, and each time that a registry has refused a credential, it checks whether
// the file has changed. If the file can't be read, it keeps the last version and reports the error.
// It is safe for concurrent use.
type File struct {
	Path string
	// Interval is the time between two checks of the file. Default: 1 s.
	Interval time.Duration
	// Report is called once for each version of the file that is malformed, and once when the file
	// can't be read. If nil, errors are dropped.
	Report func(error)

	once  sync.Once
	files reload.Files[*Keyring]
}

// Credentials returns the file's credentials for r. They are marked as shared.
func (f *File) Credentials(_ context.Context, r ref.Reference, fresh bool) []Credential {
	f.once.Do(f.init)
	ring := f.files.Current
	if fresh {
		ring = f.files.Fresh
	}
	auths, _ := Lookup(r, ring()) // the operator wrote the file, so left out entries are not counted
	var creds []Credential
	for _, a := range auths {
		creds = append(creds, Credential{Auth: a, Shared: true})
	}
	return creds
}

func (f *File) init() {
	f.files.Paths, f.files.Parse = []string{f.Path}, f.parse
	f.files.Interval, f.files.Report = cmp.Or(f.Interval, time.Second), f.report
}

func (f *File) parse(contents [][]byte) (*Keyring, error) {
	ring, err := ParseDockerConfig(contents[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	if ring.Malformed > 0 {
		f.report(fmt.Errorf("%s: %d malformed entries", f.Path, ring.Malformed))
	}
	return ring, nil
}

func (f *File) report(err error) {
	if f.Report != nil {
		f.Report(fmt.Errorf("reading Docker config: %w", err))
	}
}
