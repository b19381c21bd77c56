// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
)

// gzipped returns text in blocks of a size. Each block gets longer, if text is random.
func gzipped(t *testing.T, text []byte, block int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	for len(text) > 0 {
		n := min(block, len(text))
		_, err := w.Write(text[:n])
		if err := errors.Join(err, w.Flush()); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// sends is a registry that answers all requests with a body that is said to be compressed.
func sends(encoding string, body []byte) handler {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		_, _ = w.Write(body)
	}
}

// TestCompressedBlob checks that a blob may get longer by a registry's compression, in proportion
// to its size.
func TestCompressedBlob(t *testing.T) {
	text := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(text)
	body := gzipped(t, text, 256)
	if more := len(body) - len(text); more < 2*freeBody {
		t.Fatalf("the body is longer by %d bytes, want more for the test", more)
	}
	got, err := blobOf(t.Context(), over(sends("gzip", body)), head("r.example/a:1", ""),
		described(string(text)))
	if err != nil || got != string(text) {
		t.Errorf("Blob = %d bytes, %v, want %d", len(got), err, len(text))
	}
}

// TestUndecodable checks that the error names what can't be decoded, and that empty blocks have an
// end.
func TestUndecodable(t *testing.T) {
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, freeBody) // stored blocks without a byte
	empty = append(gzipped(t, nil, 1)[:10], empty...)
	subject := digest.FromString("image")
	req := head("r.example/a@"+subject.String(), "")
	for name, ask := range map[string]func(context.Context, *Client) error{
		"blob": func(ctx context.Context, c *Client) error {
			_, err := blobOf(ctx, c, req, described("a"))
			return err
		},
		"list of tags": func(ctx context.Context, c *Client) error {
			_, err := c.Tags(ctx, req)
			return err
		},
		"manifest": func(ctx context.Context, c *Client) error {
			_, err := c.Manifest(ctx, req)
			return err
		},
	} {
		for encoding, body := range map[string][]byte{"br": nil, "gzip": empty} {
			err := ask(t.Context(), over(sends(encoding, body)))
			want := "the " + name + " can't be decoded; see its header Content-Encoding"
			if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s as %s: %v, want %q", name, encoding, err, want)
			}
		}
	}
}
