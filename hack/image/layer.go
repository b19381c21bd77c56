// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// entry is a file of a layer. If its name ends with a slash, it is a folder.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

// newLayer returns a layer with the given entries, in this order and with the same time, so that
// the digest depends only on the entries. crane.Layer would do so too, but it has no modes, owners
// and folders. The gzip package is a module in go.sum, because the output of compress/gzip can
// change with the version of Go, and tarball.LayerFromOpener would use it.
func newLayer(entries []entry) (v1.Layer, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	t := tar.NewWriter(z)
	for _, e := range entries {
		header := &tar.Header{
			Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner,
			Size: int64(len(e.content)), ModTime: time.Unix(0, 0),
		}
		if err := t.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := t.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	}
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}

// Paths and the user. They are the same as in the Dockerfile.
const (
	binDir       = "usr/local/bin/"
	certificates = "etc/ssl/certs/ca-certificates.crt" // the first file that Go tries
	nonroot      = 65532
	user         = "65532:65532"
	entrypoint   = "/" + binDir + "tagpin-webhook"
)

const (
	passwd = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
`
	group = `root:x:0:
nobody:x:65534:
nonroot:x:65532:
`
)

// baseEntries returns the files that static programs need.
func baseEntries() []entry {
	return []entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, content: []byte(group)},
		{name: "etc/passwd", mode: 0o644, content: []byte(passwd)},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: certificates, mode: 0o644, content: roots()},
		{name: "home/", mode: 0o755},
		{name: "home/nonroot/", mode: 0o700, owner: nonroot},
		{name: "root/", mode: 0o700},
		{name: "tmp/", mode: 0o1777},
	}
}

// roots returns the CA certificates that Mozilla trusts, as PEM. It leaves out those that Mozilla
// trusts only for certificates issued before a certain day, because PEM can't express that.
func roots() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}

func binaryEntries(binaries []binary) []entry {
	entries := []entry{
		{name: "usr/", mode: 0o755},
		{name: "usr/local/", mode: 0o755},
		{name: binDir, mode: 0o755},
	}
	for _, b := range binaries {
		entries = append(entries, entry{name: binDir + b.name, mode: 0o755, content: b.content})
	}
	return entries
}
