// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
)

// rich has images with all that tagpin inspect prints. The first error is kept, and makes all that
// follows do nothing.
type rich struct {
	ts  *testscript.TestScript
	to  string
	err error
}

// pushRich implements the script command "pushrich", which pushes
//   - rich:1, rich:1.0 and rich:stable, an index $RICH of the images $RICHAMD64, whose config is
//     $CONFIG and whose layers are $GZIP and $ZSTD, and $RICHARM64, with an attestation
//   - rich:2, the image $RICHARM64
//   - what is attached to rich:1: a signature of cosign by a tag, and an SBOM $SBOM by its subject
//   - chart:1, an artifact; foreign:1, an image with a foreign layer; nested:1, an index of rich:1
//   - listed/rich:1, which is rich:1 in a registry that lists manifests
func pushRich(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: pushrich")
	}
	open := httptest.NewServer(ts.Value("registry").(*fixture).Handler) // it needs no password
	defer open.Close()
	r := &rich{ts: ts, to: strings.TrimPrefix(open.URL, "http://")}
	r.pushIndex()
	r.pushOthers()
	ts.Check(r.err)
}

func (r *rich) must(err error) {
	if r.err == nil {
		r.err = err
	}
}

// tag pushes an image or an index under tags, and sets a variable to its digest.
func (r *rich) tag(variable string, what remote.Taggable, tags ...string) {
	for _, text := range tags {
		tag, err := name.NewTag(r.to + "/" + text)
		r.must(err)
		if r.err == nil {
			r.must(remote.Push(tag, what))
		}
	}
	if variable != "" && r.err == nil {
		r.digest(variable, what.(interface{ Digest() (v1.Hash, error) }))
	}
}

func (r *rich) digest(variable string, what interface{ Digest() (v1.Hash, error) }) v1.Hash {
	h, err := what.Digest()
	r.must(err)
	r.ts.Setenv(variable, h.String())
	return h
}

func (r *rich) config(variable string, i v1.Image) {
	h, err := i.ConfigName()
	r.must(err)
	r.ts.Setenv(variable, h.String())
}

// image returns an image with layers.
func (r *rich) image(config v1.ConfigFile, layers ...mutate.Addendum) v1.Image {
	config.RootFS.Type = "layers"
	i, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &config)
	r.must(err)
	i = mutate.ConfigMediaType(i, types.OCIConfigJSON)
	i, err = mutate.Append(i, layers...)
	r.must(err)
	return i
}

func (r *rich) layer(variable string, body []byte, mediaType types.MediaType) mutate.Addendum {
	l := static.NewLayer(body, mediaType)
	if variable != "" {
		r.digest(variable, l)
	}
	return mutate.Addendum{Layer: l, MediaType: mediaType}
}

func (r *rich) pushIndex() {
	zipped := new(bytes.Buffer)
	gz := gzip.NewWriter(zipped)
	r.must(writeAll(gz, archive(r)))
	zstandard := new(bytes.Buffer)
	z, err := zstd.NewWriter(zstandard)
	r.must(err)
	r.must(writeAll(z, archive(r)))
	amd64 := r.image(v1.ConfigFile{
		OS: "linux", Architecture: "amd64",
		Created: v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Config: v1.Config{
			Entrypoint: []string{"/app", "a b"}, Cmd: []string{"serve"}, User: "65532",
			Env:        []string{"PATH=/bin", "TOKEN=canary"},
			Labels:     map[string]string{"org.opencontainers.image.source": "https://example/app"},
			WorkingDir: "/srv", ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		},
	}, r.layer("GZIP", zipped.Bytes(), types.OCILayer),
		r.layer("ZSTD", zstandard.Bytes(), types.OCILayerZStd))
	r.config("CONFIG", amd64)
	r.ts.Setenv("GZIPSIZE", fmt.Sprint(zipped.Len()))
	r.ts.Setenv("ZSTDSIZE", fmt.Sprint(zstandard.Len()))
	r.ts.Setenv("LAYERSIZE", fmt.Sprint(zipped.Len()+zstandard.Len()))
	arm64 := r.image(v1.ConfigFile{OS: "linux", Architecture: "arm64", Author: "\x1b[31mred"})
	statement := r.layer("STATEMENT", []byte("{}"), "application/vnd.in-toto+json")
	statement.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
	attestation := r.image(v1.ConfigFile{OS: "unknown", Architecture: "unknown"}, statement)
	subject := r.digest("RICHAMD64", amd64)
	r.digest("RICHARM64", arm64)
	r.config("SMALLCONFIG", arm64)
	r.digest("ATTESTATION", attestation)
	r.config("ATTESTATIONCONFIG", attestation)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	index = mutate.AppendManifests(index,
		mutate.IndexAddendum{Add: amd64, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: "amd64"},
		}},
		mutate.IndexAddendum{Add: arm64, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
		}},
		mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.type":   "attestation-manifest",
				"vnd.docker.reference.digest": subject.String(),
			},
		}},
	)
	index = mutate.Annotations(index, map[string]string{"org.example.note": "a\u202eb"}).(v1.ImageIndex)
	r.tag("RICH", index, "rich:1", "rich:1.0", "rich:stable", "listed/rich:1", "listed/rich:1.0")
	r.tag("", arm64, "rich:2")
	r.attach(index)
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})
	r.tag("NESTED", nested, "nested:1")
}

// attach attaches a signature and an SBOM to an index.
func (r *rich) attach(index v1.ImageIndex) {
	signature := r.image(v1.ConfigFile{},
		r.layer("", []byte("{}"), "application/vnd.dev.cosign.simplesigning.v1+json"))
	h, err := index.Digest()
	r.must(err)
	r.ts.Setenv("SIGNATURETAG", "sha256-"+h.Hex+".sig")
	r.tag("SIGNATURE", signature, "rich:sha256-"+h.Hex+".sig")
	sbom := mutate.ConfigMediaType(r.image(v1.ConfigFile{},
		r.layer("", []byte("{}"), "application/spdx+json")), "application/spdx+json")
	d, err := partial.Descriptor(index)
	r.must(err)
	sbom = mutate.Subject(sbom, *d).(v1.Image)
	r.digest("SBOM", sbom)
	repository, err := name.NewRepository(r.to + "/rich")
	r.must(err)
	if r.err == nil {
		r.must(remote.Write(repository.Digest(r.ts.Getenv("SBOM")), sbom))
	}
}

func (r *rich) pushOthers() {
	chart := mutate.ConfigMediaType(r.image(v1.ConfigFile{},
		r.layer("", []byte("chart"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")),
		"application/vnd.cncf.helm.config.v1+json")
	r.tag("CHART", chart, "chart:1")
	foreign := r.layer("FOREIGN", []byte("windows"), types.DockerForeignLayer)
	foreign.URLs = []string{"https://example.invalid/layer"}
	r.tag("", r.image(v1.ConfigFile{OS: "windows", Architecture: "amd64"}, foreign), "foreign:1")
}

// archive returns a tar archive with one of each kind of entry that a layer has.
func archive(r *rich) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/app.conf", Mode: 0o640, Uid: 1, Gid: 2, Size: 5},
		{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "app.conf", Mode: 0o777},
		{Name: "etc/same", Typeflag: tar.TypeLink, Linkname: "etc/app.conf", Mode: 0o640},
		{Name: "etc/.wh.old.conf"},
		{Name: "var/.wh..wh..opq"},
		{Name: "bin/\x1b[2Jodd", Mode: 0o755},
	} {
		h.ModTime = time.Unix(1e9, 0)
		r.must(w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		r.must(err)
	}
	r.must(w.Close())
	return buf.Bytes()
}

func writeAll(w interface {
	Write(b []byte) (int, error)
	Close() error
}, body []byte,
) error {
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}

// listManifests answers for the tags of listed/rich as Artifact Registry does. It reports whether
// the request was for them.
func (f *fixture) listManifests(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/v2/listed/rich/tags/list" {
		return false
	}
	head := httptest.NewRecorder()
	f.Handler.ServeHTTP(head, httptest.NewRequest(http.MethodHead, "/v2/listed/rich/manifests/1", nil))
	_, _ = fmt.Fprintf(w, `{"name":"listed/rich","tags":["1","1.0","0"],"manifest":{
		%q:{"tag":["1.0","1"],"mediaType":"m"},"sha256:%064d":{"tag":["0"]}}}`,
		head.Header().Get("Docker-Content-Digest"), 0)
	return true
}

// sendCorrupt answers for what is corrupt. It reports whether the request was for that.
func (f *fixture) sendCorrupt(w http.ResponseWriter, r *http.Request) bool {
	if _, is := f.corrupt.Load(path.Base(r.URL.Path)); !is || r.Method != http.MethodGet {
		return false
	}
	right := httptest.NewRecorder()
	f.Handler.ServeHTTP(right, r)
	w.Header().Set("Content-Type", right.Header().Get("Content-Type"))
	// The size stays, and the content can still be read.
	body := right.Body.Bytes()
	if json.Valid(body) {
		body = bytes.Replace(body, []byte("amd64"), []byte("AMD64"), 1)
		body = bytes.Replace(body, []byte("sha256"), []byte("SHA256"), 1)
	} else {
		body[9] ^= 1 // the operating system in the header of gzip
	}
	_, _ = w.Write(body)
	return true
}

// corrupt implements the script command "corrupt DIGEST": the registry sends other bytes for it.
func corrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: corrupt DIGEST")
	}
	ts.Value("registry").(*fixture).corrupt.Store(args[0], true)
}

// checkHash implements the script command "sha256 FILE DIGEST".
func checkHash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sha256 FILE DIGEST")
	}
	if got := digest.FromString(ts.ReadFile(args[0])); got.String() != args[1] {
		ts.Fatalf("%s has the digest %s, want %s", args[0], got, args[1])
	}
}
