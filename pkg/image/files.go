// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// maxWindow bounds the memory for a layer that is compressed by zstd. The command zstd has the same
// limit by default.
const maxWindow = 128 << 20

// Whiteout says what an entry of a layer removes from the layers below it (OCI image specification,
// "Whiteouts").
type Whiteout string

// The whiteouts.
const (
	NoWhiteout Whiteout = ""
	Removes    Whiteout = "removes" // the file or directory with this name
	Hides      Whiteout = "hides"   // all that lower layers have in this directory
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// Entry is a file of a layer.
type Entry struct {
	// Name is the path in the image. For a whiteout it is that of what it removes or hides.
	Name     string   `json:"name"`
	Whiteout Whiteout `json:"whiteout,omitempty"`
	Mode     string   `json:"mode"` // as tar prints it: drwxr-xr-x
	UID      int      `json:"uid"`
	GID      int      `json:"gid"`
	Size     int64    `json:"size"`
	Modified string   `json:"modified"`
	// Link is the target of a symbolic or hard link. HardLink tells the two apart.
	Link     string `json:"link,omitempty"`
	HardLink bool   `json:"hardLink,omitempty"`
}

// Layer returns a layer of the manifest by its place, from 1, or by the beginning of its digest.
func (r *Root) Layer(text string) (Layer, error) {
	layers := r.body.Layers
	if len(layers) == 0 {
		return Layer{}, errors.New("the manifest has no layers")
	}
	if n, err := strconv.Atoi(text); err == nil && len(text) < minPrefix {
		if n < 1 || n > len(layers) {
			return Layer{}, fmt.Errorf("layer %s: the manifest has layers 1 to %d", text, len(layers))
		}
		return layer(layers[n-1]), nil
	}
	var found []int
	for i, d := range layers {
		_, hex, _ := strings.Cut(string(d.Digest), ":")
		same := strings.HasPrefix(string(d.Digest), text) || strings.HasPrefix(hex, text)
		if same && (len(found) == 0 || layers[found[0]].Digest != d.Digest) {
			found = append(found, i)
		}
	}
	switch {
	case len(text) < minPrefix || len(found) == 0:
		return Layer{}, fmt.Errorf("layer %q: want a number from 1 to %d, or the first %d or more "+
			"characters of a layer's digest", text, len(layers), minPrefix)
	case len(found) > 1:
		return Layer{}, fmt.Errorf("layer %q: the digests of several layers begin so", text)
	}
	return layer(layers[found[0]]), nil
}

// minPrefix is the length from which a text is the beginning of a digest, and not a number.
const minPrefix = 4

// Files calls visit for each file of a layer, in the order of the layer, while the layer arrives.
// Nothing of the layer is kept. Only if Files returns nil were the files those of the layer: its
// digest is known at its end. An error of visit ends the list, and Files returns it.
func (r *Reader) Files(
	ctx context.Context, image ref.Reference, l Layer, visit func(Entry) error,
) error {
	switch {
	case strings.HasSuffix(l.MediaType, "+encrypted"):
		return failure.Errorf(failure.Invalid, "the layer is encrypted")
	case l.Content != "" && !strings.Contains(l.MediaType, "tar"):
		return failure.Errorf(failure.Invalid, "the layer is no archive but %s", l.Content)
	}
	req := resolve.Request{Ref: image, Keychain: r.Keychain}
	blob := registry.Blob{Digest: l.Digest, Size: l.Size}
	err := r.ask(ctx, func() error {
		return r.Mirrors.Blob(ctx, req, blob, func(body io.Reader) error { return list(body, visit) })
	})
	if errors.Is(err, failure.NotFound) && l.Foreign {
		return fmt.Errorf("%w: the layer is foreign, and may be had from %s alone, which tagpin does "+
			"not ask", err, listed(l.URLs))
	}
	return err
}

var errNoArchive = failure.Errorf(failure.Invalid, "the layer is no tar archive")

// list reads an archive, which may be compressed by gzip or zstd.
func list(body io.Reader, visit func(Entry) error) error {
	archive, end, err := decompressed(body)
	if err != nil {
		return err
	}
	defer end()
	reader := tar.NewReader(archive)
	for first := true; ; first = false {
		h, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && first:
			return errNoArchive
		case err != nil:
			return failure.Errorf(failure.Invalid, "the layer is broken: %w", err)
		}
		if err := visit(entry(h)); err != nil {
			return err
		}
	}
}

// decompressed returns the bytes of an archive. end frees what the reader holds. What the bytes are
// is found out from their beginning, because media types are often wrong about it.
func decompressed(body io.Reader) (archive io.Reader, end func(), err error) {
	buffered := bufio.NewReaderSize(body, 32<<10)
	magic, _ := buffered.Peek(4) // a shorter body is no archive, which tar will find
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		gz, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, failure.Errorf(failure.Invalid, "the layer is broken: %w", err)
		}
		return gz, func() {}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, failure.Errorf(failure.Invalid, "the layer is broken: %w", err)
		}
		return z, z.Close, nil
	}
	return buffered, func() {}, nil
}

func entry(h *tar.Header) Entry {
	e := Entry{
		Name: h.Name, Mode: mode(h), UID: h.Uid, GID: h.Gid, Size: h.Size,
		Modified: h.ModTime.UTC().Format(time.RFC3339),
		Link:     h.Linkname, HardLink: h.Typeflag == tar.TypeLink,
	}
	clean := strings.TrimSuffix(h.Name, "/")
	switch directory, base := path.Split(clean); {
	case base == opaqueMarker:
		e.Whiteout, e.Name = Hides, directory
	case strings.HasPrefix(base, whiteoutPrefix):
		e.Whiteout, e.Name = Removes, directory+strings.TrimPrefix(base, whiteoutPrefix)
	}
	return e
}

// mode returns the type and the permissions of an entry as tar prints them.
func mode(h *tar.Header) string {
	text := []byte("?rwxrwxrwx")
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		text[0] = '-'
	case tar.TypeLink:
		text[0] = 'h'
	case tar.TypeSymlink:
		text[0] = 'l'
	case tar.TypeDir:
		text[0] = 'd'
	case tar.TypeChar:
		text[0] = 'c'
	case tar.TypeBlock:
		text[0] = 'b'
	case tar.TypeFifo:
		text[0] = 'p'
	}
	for bit := range 9 {
		if h.Mode&(1<<(8-bit)) == 0 {
			text[1+bit] = '-'
		}
	}
	for i, special := range []byte("sst") { // setuid, setgid, sticky
		if h.Mode&(1<<(11-i)) == 0 {
			continue
		}
		if at := 3 * (i + 1); text[at] == '-' {
			text[at] = special - 'a' + 'A'
		} else {
			text[at] = special
		}
	}
	return string(text)
}
