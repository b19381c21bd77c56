// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tagpin/tagpin/pkg/failure"
)

func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func names(body []byte) (all []string, err error) {
	err = list(bytes.NewReader(body), func(e Entry) error {
		all = append(all, e.Mode+" "+string(e.Whiteout)+" "+e.Name)
		return nil
	})
	return all, err
}

func TestModes(t *testing.T) {
	for want, h := range map[string]tar.Header{
		"-rwsr-Sr-T": {Mode: 0o7744},
		"-rwxr-sr-t": {Mode: 0o3755},
		"drwxrwxrwt": {Mode: 0o1777, Typeflag: tar.TypeDir},
		"c---------": {Typeflag: tar.TypeChar},
		"b---------": {Typeflag: tar.TypeBlock},
		"p---------": {Typeflag: tar.TypeFifo},
		"?---------": {Typeflag: 'Z'},
	} {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if got := mode(&h); got != want {
			t.Errorf("mode(%o, %c) = %s, want %s", h.Mode, h.Typeflag, got, want)
		}
	}
}

func TestWhiteouts(t *testing.T) {
	for in, want := range map[string]string{
		"a/b":             " a/b",
		"a/.wh.b":         "removes a/b",
		".wh.b":           "removes b",
		"a/.wh.b/":        "removes a/b",
		"a/.wh..wh..opq":  "hides a/",
		".wh..wh..opq":    "hides ",
		"a/.white":        " a/.white",
		"./a/.wh.b":       "removes ./a/b",
		"a.wh.b":          " a.wh.b",
		"a/.wh..wh.plnk/": "removes a/.wh.plnk",
	} {
		e := entry(&tar.Header{Name: in})
		if got := string(e.Whiteout) + " " + e.Name; got != want {
			t.Errorf("entry(%s) = %s, want %s", in, got, want)
		}
	}
}

// TestListCompressed checks that the compression is found out from the bytes.
func TestListCompressed(t *testing.T) {
	plain := archive(t, tar.Header{Name: "a", Mode: 0o600})
	var zipped, zstandard bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	_, _ = gz.Write(plain)
	_ = gz.Close()
	z, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write(plain)
	_ = z.Close()
	for name, body := range map[string][]byte{
		"plain": plain, "gzip": zipped.Bytes(), "zstd": zstandard.Bytes(),
	} {
		got, err := names(body)
		if err != nil || len(got) != 1 || got[0] != "-rw-------  a" {
			t.Errorf("%s: list = %q, %v, want the file", name, got, err)
		}
		if name == "plain" {
			continue
		}
		if _, err := names(body[:len(body)/2]); !errors.Is(err, failure.Invalid) {
			t.Errorf("%s, half: list = %v, want an invalid answer", name, err)
		}
	}
	for _, body := range []string{"", "{}", strings.Repeat("x", 2048), "\x1f\x8b", "\x28\xb5\x2f\xfd"} {
		got, err := names([]byte(body))
		if len(got) > 0 || body != "" && !errors.Is(err, failure.Invalid) {
			t.Errorf("list(%.10q) = %q, %v, want an invalid answer", body, got, err)
		}
	}
}

// TestListNeedsLittleMemory checks that a file which unpacks to much more is not held.
func TestListNeedsLittleMemory(t *testing.T) {
	const size = 64 << 20
	body, w := io.Pipe()
	go func() {
		gz := gzip.NewWriter(w)
		tw := tar.NewWriter(gz)
		_ = tw.WriteHeader(&tar.Header{Name: "zeros", Size: size})
		_, _ = io.CopyN(tw, zeros{}, size)
		_ = tw.Close()
		_ = gz.Close()
		_ = w.Close()
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := list(body, func(Entry) error { return nil }); err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > size/16 {
		t.Errorf("a file of %d bytes took %d bytes of memory", size, n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzList(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "a/.wh.b", Mode: 0o600}))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := names(body)
		if err != nil && !errors.Is(err, failure.Invalid) {
			t.Errorf("list = %v, want an invalid answer", err)
		}
	})
}
