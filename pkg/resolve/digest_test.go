// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
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

const digestHeader = "Docker-Content-Digest"

var (
	image      = registrytest.ImageBody
	sumOfImage = digest.FromString(image).String()
	sumOfOther = digest.FromString("other").String()
	headGet    = []string{"HEAD app:1", "GET app:1"}
)

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
		try(t, []registrytest.Case{
			{Name: name + ", on HEAD", Rules: rules{own: {{On: "HEAD app", Then: bad}, {On: "GET app", Then: registrytest.Image}}}, Asked: headGet, Want: registrytest.ImageBody},
			{Name: name + ", on both", Rules: registrytest.Always(bad), Asked: headGet, Want: registrytest.ImageBody},
			{Name: name + ", and GET is wanted", Rules: registrytest.Always(bad), Host: registry.Host{Verify: true}, Asked: headGet[1:], Want: registrytest.ImageBody},
		})
	}
}

// TestOtherAlgorithm checks that a manifest that is asked for by its sha512 digest is compared with
// that.
func TestOtherAlgorithm(t *testing.T) {
	sum := digest.SHA512.FromString(image).String()
	w := registrytest.Start(t, registrytest.Always(registrytest.Image.With(digestHeader, sum)))
	c := w.Client()
	for body, ok := range map[string]bool{image: true, "other": false} {
		image := w.Host(own) + "/app@" + digest.SHA512.FromString(body).String()
		_, err := c.Manifest(t.Context(), registry.Request{Ref: ref.MustParse(image)})
		if (err == nil) != ok {
			t.Errorf("Manifest(%s) = %v, want it: %t", image, err, ok)
		}
	}
}

// TestAccept checks that Accept has every type of manifest (R15, R17, R26). Otherwise some
// registries
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
		c := registrytest.Case{Name: fmt.Sprint(code), Rules: registrytest.Always(registrytest.Image.WithStatus(code)), Asked: headGet[:1], Class: failure.Unavailable, Says: fmt.Sprintf("{registry}: %d", code)}
		t.Run(c.Name, func(t *testing.T) { run(t, c) })
	}
}
