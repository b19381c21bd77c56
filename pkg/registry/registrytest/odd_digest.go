// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

var (
	sumOfImage = digest.FromString(ImageBody).String()
	sumOfOther = digest.FromString("other").String()
	noDigest   = Image.With(digestHeader, "")
	headGet    = []string{"HEAD app:1", "GET app:1"}
	untyped    = strings.Replace(ImageBody, `"mediaType":"`+ImageType+`",`, "", 1)
	packed     = compressed(ImageBody).With(digestHeader, sumOfImage)
	corrupt    = Answer{Header: packed.With(digestHeader, "").Header, Body: packed.Body[:len(packed.Body)-8] + "checksum"}
	empty      = Answer{Header: corrupt.Header, Body: packed.Body[:10] + strings.Repeat("\x00\x00\x00\xff\xff", 1<<16)}
	bomb       = compressed(ImageBody + strings.Repeat(" ", registry.MaxManifest))
)

// compressed returns a manifest as a registry sends it that compresses all that it sends.
func compressed(body string) Answer {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(body)) // to memory, and so is Close
	_ = z.Close()
	return Manifest(ImageType, b.String()).With("Content-Encoding", "gzip").With(digestHeader, "")
}

// status returns a registry with a status for HEAD and a manifest for GET.
func status(code int) Rules {
	return Rules{Registry: {{On: "HEAD app", Then: Answer{Status: code}}, {On: "GET app", Then: Image}}}
}

// Always returns a registry with one answer.
func Always(a Answer) Rules { return Rules{Registry: {{Then: a}}} }

// digestCases are about the digest and the manifest.
var digestCases = []Case{
	{Name: "R01 no digest on GET", Rules: Rules{Registry: {{On: "HEAD app", Then: Image}, {On: "GET app", Then: noDigest}}}, Asked: headGet[:1], Want: ImageBody},
	{Name: "R01 no digest on GET, and GET is wanted", Rules: Always(noDigest), Host: registry.Host{Verify: true}, Asked: headGet[1:], Want: ImageBody},
	{Name: "R02 no digest at all", Rules: Always(noDigest), Asked: headGet, Want: ImageBody},
	{Name: "R03 HEAD forbidden", Rules: status(http.StatusForbidden), Asked: headGet, Want: ImageBody},
	{Name: "R03 HEAD and GET forbidden", Rules: Always(Answer{Status: http.StatusForbidden}), Asked: headGet, Class: failure.Unauthorized, Says: "{registry}: 403 Forbidden"},
	{Name: "R04 HEAD not allowed, remembered", Rules: status(http.StatusMethodNotAllowed), Times: 3, Asked: append(headGet, "GET app:1", "GET app:1"), Want: ImageBody},
	{Name: "R04 HEAD not implemented", Rules: status(http.StatusNotImplemented), Times: 2, Asked: append(headGet, "GET app:1"), Want: ImageBody},
	{Name: "R44 HEAD not acceptable", Rules: status(http.StatusNotAcceptable), Asked: headGet, Want: ImageBody},
	{Name: "R44 HEAD a bad request", Rules: status(http.StatusBadRequest), Asked: headGet, Want: ImageBody},
	{Name: "R44 GET a bad request too", Rules: Always(Answer{Status: http.StatusBadRequest}), Asked: headGet, Class: failure.Invalid, Says: "400 Bad Request"},
	{Name: "R41 always compressed", Rules: Always(packed.With(digestHeader, "")), Asked: headGet, Want: ImageBody},
	{Name: "R41 with the digest of the manifest", Rules: Always(packed), Host: registry.Host{Verify: true}, Asked: headGet[1:], Want: ImageBody},
	{Name: "R41 a bomb", Rules: Always(bomb), Asked: headGet, Class: failure.Invalid, Says: "manifest larger than 4 MiB"},
	{Name: "R41 cut off", Rules: Always(Answer{Header: packed.Header, Hang: "body"}), Host: registry.Host{Timeout: short, Verify: true}, Asked: headGet[1:], Class: failure.Unavailable, Says: "{registry}: timed out"},
	{Name: "R41 with a wrong checksum", Rules: Always(corrupt), Asked: headGet, Class: failure.Invalid, Says: "can't be decoded"},
	{Name: "R41 nothing", Rules: Always(Answer{Header: corrupt.Header}), Asked: headGet, Class: failure.Invalid, Says: "can't be decoded"},
	{Name: "R41 half of it", Rules: Always(Answer{Header: corrupt.Header, Body: packed.Body[:len(packed.Body)/2]}), Asked: headGet, Class: failure.Invalid, Says: "can't be decoded"},
	{Name: "R41 empty blocks without end", Rules: Always(empty), Asked: headGet, Class: failure.Invalid, Says: "can't be decoded"},
	{Name: "R41 not compressed", Rules: Always(noDigest.With("Content-Encoding", "gzip")), Asked: headGet, Class: failure.Invalid, Says: "Content-Encoding"},
	{Name: "R41 in another encoding", Rules: Always(noDigest.With("Content-Encoding", "br")), Asked: headGet, Class: failure.Invalid, Says: "Content-Encoding"},
	{Name: "R05 HEAD hidden by 404", Rules: status(http.StatusNotFound), Asked: headGet, Want: ImageBody},
	{Name: "R05 404 both ways", Rules: Rules{}, Asked: headGet, Class: failure.NotFound, Says: "{registry}: 404 Not Found"},
	{
		Name: "R06 upstream's failure shown as unknown", Stale: true, Times: 2, Asked: headGet, Class: failure.NotFound, // the second time remembered, for seconds
		Rules: Always(Answer{Status: http.StatusNotFound, Body: `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"` + Canary + `"}]}`}),
	},
	{
		Name: "R11 HEAD is no pull", Rules: Always(Image), Times: 2, Asked: []string{"HEAD app:1", "HEAD app:1"}, Want: ImageBody,
	},
	{Name: "R15 an index is pinned as an index", Rules: Rules{Registry: {{On: "app:" + sumOfImage, Then: Image}, {Then: Index}}}, Asked: headGet[:1], Want: IndexBody},
	{Name: "R19 schema 1 on HEAD", Rules: Always(Manifest(Schema1Type, Schema1Body)), Asked: headGet, Class: failure.Invalid, Says: "Docker schema 1"},
	{
		Name: "R19 schema 1 by another name", Rules: Always(Manifest(Schema2Type, Schema1Body).With(digestHeader, "")),
		Asked: headGet, Class: failure.Invalid, Says: "Docker schema 1",
	},
	{Name: "R22 GET wanted", Rules: Always(Image), Host: registry.Host{Verify: true}, Asked: headGet[1:], Want: ImageBody},
	{
		Name: "R23 HEAD without type and length", Asked: headGet, Want: ImageBody,
		Rules: Rules{Registry: {{On: "HEAD app", Then: Answer{Raw: "HTTP/1.1 200 OK\r\nDocker-Content-Digest: " + sumOfImage + "\r\n\r\n"}}, {On: "GET app", Then: Image}}},
	},
	{Name: "R25 HEAD says it is chunked", Asked: headGet[:1], Want: ImageBody, Rules: Rules{Registry: {{On: "HEAD app", Then: raw("Transfer-Encoding: chunked", sumOfImage)}, {Then: Image}}}},
	{Name: "R25 HEAD says it is empty", Asked: headGet[:1], Want: ImageBody, Rules: Rules{Registry: {{On: "HEAD app", Then: raw("Content-Length: 0", sumOfImage)}, {Then: Image}}}},
	{Name: "R31 HTML from a gateway", Rules: Always(Answer{Header: map[string]string{"Content-Type": "text/html"}, Body: "<html>"}), Asked: headGet, Class: failure.Invalid, Says: "of another content type"},
	{Name: "R31 HTML as a manifest", Rules: Always(Manifest(ImageType, "<html>").With(digestHeader, "")), Asked: headGet, Class: failure.Invalid, Says: "no JSON"},
	{Name: "R31 nothing as a manifest", Rules: Always(Manifest(ImageType, "").With(digestHeader, "")), Asked: headGet, Class: failure.Invalid, Says: "no JSON"},
	{Name: "R31 more after the manifest", Rules: Always(Manifest(ImageType, ImageBody+"{}").With(digestHeader, "")), Asked: headGet, Class: failure.Invalid, Says: "no JSON"},
	{Name: "R31 a type with a parameter", Rules: Always(noDigest.With("Content-Type", ImageType+"; charset=utf-8")), Asked: headGet, Want: ImageBody},
	{Name: "R31 a type that says only JSON", Rules: Always(Image.With("Content-Type", "application/json")), Asked: headGet, Class: failure.Invalid, Says: "of another content type"},
	{Name: "R39 digest of another body", Rules: Rules{Registry: {{On: "HEAD app", Then: noDigest}, {On: "GET app", Then: Image.With(digestHeader, sumOfOther)}}}, Asked: headGet, Class: failure.Invalid, Says: "another digest than its header"},
	{Name: "R39 and where GET is wanted", Rules: Always(Image.With(digestHeader, sumOfOther)), Host: registry.Host{Verify: true}, Asked: headGet[1:], Class: failure.Invalid},
	{Name: "R39 a digest that is too short", Rules: Always(Image.With(digestHeader, sumOfImage[:len(sumOfImage)-1])), Asked: headGet, Want: ImageBody},
	{Name: "R39 a sha512 digest", Rules: Always(Image.With(digestHeader, digest.SHA512.FromString(ImageBody).String())), Asked: headGet, Want: ImageBody},
	{Name: "R40 the body names another type", Rules: Always(Manifest(IndexType, ImageBody).With(digestHeader, "")), Asked: headGet, Class: failure.Invalid, Says: "name different media types"},
	{Name: "R40 the body names another type of image", Rules: Always(Manifest(Schema2Type, ImageBody).With(digestHeader, "")), Asked: headGet, Class: failure.Invalid, Says: "name different media types"},
	{Name: "R40 the body names no type", Rules: Always(Manifest(ImageType, untyped).With(digestHeader, "")), Asked: headGet, Want: untyped},
	{
		Name: "R40 manifests and layers", Asked: headGet, Class: failure.Invalid, Says: "the index has no manifests",
		Rules: Always(Manifest(IndexType, `{"schemaVersion":2,"manifests":[],"layers":[]}`).With(digestHeader, "")),
	},
	{
		Name: "R40 an image with manifests", Asked: headGet, Class: failure.Invalid, Says: "no image manifest",
		Rules: Always(Manifest(Schema2Type, `{"schemaVersion":2,"config":{},"manifests":[]}`).With(digestHeader, "")),
	},
	{Name: "R49 203 of a proxy", Rules: Always(Image.WithStatus(http.StatusNonAuthoritativeInfo)), Asked: headGet[:1], Class: failure.Unavailable, Says: "{registry}: 203"},
}

// raw returns an answer to HEAD with another header.
func raw(header, digest string) Answer {
	return Answer{Raw: "HTTP/1.1 200 OK\r\nContent-Type: " + ImageType + "\r\n" + header + "\r\nDocker-Content-Digest: " + digest + "\r\n\r\n"}
}
