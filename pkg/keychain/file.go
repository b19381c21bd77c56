// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/reload"
)

// File is a mounted Docker config that all namespaces share, as the one on a node is shared. It is
// read again when it has changed, at most once an Interval or when a credential was refused. If it
// can't be read, that is reported, and what was read before stays. It is safe for concurrent use.
type File struct {
	// Path of the file. Empty: no credentials.
	Path string
	// Interval between two looks at the file. Default: 1 s.
	Interval time.Duration
	// Report is called once for each version of the file that is malformed, and once when the file
	// can't be read. Default: errors are dropped.
	Report func(error)

	once  sync.Once
	files reload.Files[*Keyring]
}

// Credentials returns what the file holds for r, marked as shared.
func (f *File) Credentials(_ context.Context, r ref.Reference, fresh bool) []Credential {
	if f == nil || f.Path == "" {
		return nil
	}
	f.once.Do(f.init)
	ring := f.files.Current
	if fresh {
		ring = f.files.Fresh
	}
	auths, _ := Lookup(r, ring()) // none is left out: the operator wrote the file
	return shared(auths)
}

func (f *File) init() {
	f.files.Paths, f.files.Parse = []string{f.Path}, f.parse
	f.files.Interval, f.files.Report = cmp.Or(max(f.Interval, 0), time.Second), f.report
}

func (f *File) parse(contents [][]byte) (*Keyring, error) {
	ring, err := ParseDockerConfig(contents[0])
	if err == nil && ring.Malformed() > 0 {
		f.report(fmt.Errorf("%d malformed entries", ring.Malformed()))
	}
	return ring, err
}

func (f *File) report(err error) {
	if f.Report != nil {
		f.Report(fmt.Errorf("reading Docker config %s: %w", f.Path, err))
	}
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
