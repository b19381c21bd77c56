// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

const (
	image, index = registrytest.ImageBody, registrytest.IndexBody
	digestHeader = "Docker-Content-Digest"
)

var (
	sumOfImage = digest.FromString(image).String()
	sumOfOther = digest.FromString("other").String()
	noDigest   = registrytest.Image.With(digestHeader, "")
	headGet    = []string{"HEAD app:1", "GET app:1"}
	packed     = compressed(image).With(digestHeader, sumOfImage)
	bomb       = compressed(image + strings.Repeat(" ", registry.MaxManifest))
)

// compressed returns a manifest as a registry sends it that compresses all that it sends.
func compressed(body string) answer {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(body)) // to memory, and so is Close
	_ = z.Close()
	return registrytest.Manifest(registrytest.ImageType, b.String()).With("Content-Encoding", "gzip").With(digestHeader, "")
}

// status returns a registry with a status for HEAD and a manifest for GET.
func status(code int) rules {
	return rules{own: {{On: "HEAD app", Then: answer{Status: code}}, {On: "GET app", Then: registrytest.Image}}}
}

// always returns a registry with one answer.
func always(a answer) rules { return rules{own: {{Then: a}}} }

// digestCases are about the digest and the manifest.
var digestCases = []odd{
	{name: "R01 no digest on GET", rules: rules{own: {{On: "HEAD app", Then: registrytest.Image}, {On: "GET app", Then: noDigest}}}, asked: headGet[:1], want: image},
	{name: "R01 no digest on GET, and GET is wanted", rules: always(noDigest), host: registry.Host{Verify: true}, asked: headGet[1:], want: image},
	{name: "R02 no digest at all", rules: always(noDigest), asked: headGet, want: image},
	{name: "R03 HEAD forbidden", rules: status(http.StatusForbidden), asked: headGet, want: image},
	{name: "R03 HEAD and GET forbidden", rules: always(answer{Status: http.StatusForbidden}), asked: headGet, class: failure.Unauthorized, says: "{registry}: 403 Forbidden"},
	{name: "R04 HEAD not allowed, remembered", rules: status(http.StatusMethodNotAllowed), times: 3, asked: append(headGet, "GET app:1", "GET app:1"), want: image},
	{name: "R04 HEAD not implemented", rules: status(http.StatusNotImplemented), times: 2, asked: append(headGet, "GET app:1"), want: image},
	{name: "R44 HEAD not acceptable", rules: status(http.StatusNotAcceptable), asked: headGet, want: image},
	{name: "R44 HEAD a bad request", rules: status(http.StatusBadRequest), asked: headGet, want: image},
	{name: "R44 GET a bad request too", rules: always(answer{Status: http.StatusBadRequest}), asked: headGet, class: failure.Invalid, says: "400 Bad Request"},
	{name: "R41 always compressed", rules: always(packed.With(digestHeader, "")), asked: headGet, want: image},
	{name: "R41 with the digest of the manifest", rules: always(packed), host: registry.Host{Verify: true}, asked: headGet[1:], want: image},
	{name: "R41 a bomb", rules: always(bomb), asked: headGet, class: failure.Invalid, says: "manifest larger than 4 MiB"},
	{name: "R41 cut off", rules: always(answer{Header: packed.Header, Hang: "body"}), host: registry.Host{Timeout: short, Verify: true}, asked: headGet[1:], class: failure.Unavailable, says: "{registry}: timed out"},
	{name: "R41 not compressed", rules: always(noDigest.With("Content-Encoding", "gzip")), asked: headGet, class: failure.Invalid, says: "Content-Encoding"},
	{name: "R41 in another encoding", rules: always(noDigest.With("Content-Encoding", "br")), asked: headGet, class: failure.Invalid, says: "Content-Encoding"},
	{name: "R05 HEAD hidden by 404", rules: status(http.StatusNotFound), asked: headGet, want: image},
	{name: "R05 404 both ways", rules: rules{}, asked: headGet, class: failure.NotFound, says: "{registry}: 404 Not Found"},
	{
		name: "R06 upstream's failure shown as unknown", stale: true, times: 2, asked: headGet, class: failure.NotFound, // the second time remembered, for seconds
		rules: always(answer{Status: http.StatusNotFound, Body: `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"` + registrytest.Canary + `"}]}`}),
	},
	{
		name: "R11 HEAD is no pull", rules: rules{own: {{On: "HEAD app", Then: registrytest.Image}}}, times: 2, asked: []string{"HEAD app:1", "HEAD app:1"}, want: image,
	},
	{name: "R15 an index is pinned as an index", rules: always(registrytest.Index), asked: headGet[:1], want: index},
	{name: "R19 schema 1 on HEAD", rules: always(registrytest.Manifest(registrytest.Schema1Type, registrytest.Schema1Body)), asked: headGet, class: failure.Invalid, says: "Docker schema 1"},
	{
		name: "R19 schema 1 by another name", rules: always(registrytest.Manifest(registrytest.Schema2Type, registrytest.Schema1Body).With(digestHeader, "")),
		asked: headGet, class: failure.Invalid, says: "Docker schema 1",
	},
	{name: "R22 GET wanted", rules: always(registrytest.Image), host: registry.Host{Verify: true}, asked: headGet[1:], want: image},
	{
		name: "R23 HEAD without type and length", asked: headGet, want: image,
		rules: rules{own: {{On: "HEAD app", Then: answer{Raw: "HTTP/1.1 200 OK\r\nDocker-Content-Digest: " + sumOfImage + "\r\n\r\n"}}, {On: "GET app", Then: registrytest.Image}}},
	},
	{name: "R25 HEAD says it is chunked", asked: headGet[:1], want: image, rules: rules{own: {{On: "HEAD app", Then: raw("Transfer-Encoding: chunked", sumOfImage)}}}},
	{name: "R25 HEAD says it is empty", asked: headGet[:1], want: image, rules: rules{own: {{On: "HEAD app", Then: raw("Content-Length: 0", sumOfImage)}}}},
	{name: "R31 HTML from a gateway", rules: always(answer{Header: map[string]string{"Content-Type": "text/html"}, Body: "<html>"}), asked: headGet, class: failure.Invalid, says: "of another content type"},
	{name: "R31 HTML as a manifest", rules: always(registrytest.Manifest(registrytest.ImageType, "<html>").With(digestHeader, "")), asked: headGet, class: failure.Invalid, says: "no JSON"},
	{name: "R31 nothing as a manifest", rules: always(registrytest.Manifest(registrytest.ImageType, "").With(digestHeader, "")), asked: headGet, class: failure.Invalid, says: "no JSON"},
	{name: "R31 more after the manifest", rules: always(registrytest.Manifest(registrytest.ImageType, image+"{}").With(digestHeader, "")), asked: headGet, class: failure.Invalid, says: "no JSON"},
	{name: "R39 digest of another body", rules: rules{own: {{On: "HEAD app", Then: noDigest}, {On: "GET app", Then: registrytest.Image.With(digestHeader, sumOfOther)}}}, asked: headGet, class: failure.Invalid, says: "another digest than its header"},
	{name: "R39 and where GET is wanted", rules: always(registrytest.Image.With(digestHeader, sumOfOther)), host: registry.Host{Verify: true}, asked: headGet[1:], class: failure.Invalid},
	{name: "R40 the body names another type", rules: always(registrytest.Manifest(registrytest.IndexType, image).With(digestHeader, "")), asked: headGet, class: failure.Invalid, says: "name different media types"},
	{
		name: "R40 manifests and layers", asked: headGet, class: failure.Invalid, says: "no index",
		rules: always(registrytest.Manifest(registrytest.IndexType, `{"schemaVersion":2,"manifests":[],"layers":[]}`).With(digestHeader, "")),
	},
	{
		name: "R40 an image with manifests", asked: headGet, class: failure.Invalid, says: "no image manifest",
		rules: always(registrytest.Manifest(registrytest.Schema2Type, `{"schemaVersion":2,"config":{},"manifests":[]}`).With(digestHeader, "")),
	},
}

// raw returns an answer to HEAD with another header.
func raw(header, digest string) answer {
	return answer{Raw: "HTTP/1.1 200 OK\r\nContent-Type: " + registrytest.ImageType + "\r\n" + header + "\r\nDocker-Content-Digest: " + digest + "\r\n\r\n"}
}

// TestOddDigest tests the digest and the manifest of answers.
func TestOddDigest(t *testing.T) { try(t, digestCases) }

// TestMalformedDigest checks that a digest is 64 lower-case hexadecimal digits of sha256, once
// (R39). Another header is ignored.
func TestMalformedDigest(t *testing.T) {
	hex := strings.TrimPrefix(sumOfImage, "sha256:")
	for name, header := range map[string]string{
		"upper case": "sha256:" + strings.ToUpper(hex), "short": "sha256:" + hex[1:], "long": "sha256:" + hex + "0", "no algorithm": hex, "another": "sha512:" + hex + hex,
		"md5": "md5:" + hex[:32], "path": "sha256:../../" + hex[6:], "two": sumOfImage + "\n" + sumOfOther, "the same twice": sumOfImage + "\n" + sumOfImage,
		"a list": sumOfImage + "," + sumOfImage, "quoted": `"` + sumOfImage + `"`, "garbage": registrytest.Canary,
	} {
		bad := registrytest.Image.With(digestHeader, header)
		try(t, []odd{
			{name: name + ", on HEAD", rules: rules{own: {{On: "HEAD app", Then: bad}, {On: "GET app", Then: registrytest.Image}}}, asked: headGet, want: image},
			{name: name + ", on both", rules: always(bad), asked: headGet, want: image},
			{name: name + ", and GET is wanted", rules: always(bad), host: registry.Host{Verify: true}, asked: headGet[1:], want: image},
		})
	}
}

// TestOtherAlgorithm checks that a manifest that is asked for by its sha512 digest is compared with
// that.
func TestOtherAlgorithm(t *testing.T) {
	sum := digest.SHA512.FromString(image).String()
	w := registrytest.Start(t, always(registrytest.Image.With(digestHeader, sum)))
	c := w.Client()
	for body, ok := range map[string]bool{image: true, "other": false} {
		image := w.Host(own) + "/app@" + digest.SHA512.FromString(body).String()
		_, err := c.Manifest(t.Context(), registry.Request{Ref: ref.MustParse(image)})
		if (err == nil) != ok {
			t.Errorf("Manifest(%s) = %v, want it: %t", image, err, ok)
		}
	}
}

// TestAccept checks that Accept has every type of manifest (R15, R17, R26). Else some registries
// answer with a manifest of one platform, a converted one, or 404.
func TestAccept(t *testing.T) {
	var got []string
	host, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.Header.Get("Accept")) // its first line alone
		w.WriteHeader(http.StatusNotFound)
	}))
	_, _ = get(t, c, host+"/app:1")
	for _, accept := range got {
		for _, mediaType := range []string{
			registrytest.ImageType, registrytest.IndexType,
			registrytest.Schema2Type, registrytest.ListType,
		} {
			if !strings.Contains(accept, mediaType) || strings.Contains(accept, "manifest.v1+prettyjws") || strings.Contains(accept, "*") {
				t.Errorf("Accept of %s, want %s and neither schema 1 nor anything", accept, mediaType)
			}
		}
	}
	if len(got) != 2 {
		t.Errorf("asked %q, want HEAD and GET", got)
	}
}

// TestOtherSuccess checks that any 2xx but 200 is an error.
func TestOtherSuccess(t *testing.T) {
	for _, code := range []int{201, 203, 204, 206, 299} {
		o := odd{name: fmt.Sprint(code), rules: always(registrytest.Image.WithStatus(code)), asked: headGet[:1], class: failure.Unavailable, says: fmt.Sprintf("{registry}: %d", code)}
		t.Run(o.name, o.run)
	}
}
