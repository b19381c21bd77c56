// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
)

// listing returns an index that lists manifests.
func listing(manifests ...digest.Digest) string {
	var all []string
	for _, d := range manifests {
		all = append(all, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1,"artifactType":"a/b"}`,
			types.OCIManifestSchema1, d))
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`,
		types.OCIImageIndex, strings.Join(all, ","))
}

// status answers with a status alone.
func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

// TestReferrers checks where referrers come from: the API if the registry has it, else the tag.
func TestReferrers(t *testing.T) {
	subject, signature := digest.FromString("image"), digest.FromString("signature")
	tag := "sha256-" + subject.Encoded()
	oci := string(types.OCIImageIndex)
	for name, tt := range map[string]struct {
		api       func(w http.ResponseWriter)
		tagStatus int
		count     int
		tag       string
		err       error
	}{
		"API": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", oci)
			_, _ = w.Write([]byte(listing(signature)))
		}, 500, 1, "", nil},
		"API, none": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", oci)
			_, _ = w.Write([]byte(listing()))
		}, 500, 0, "", nil},
		"tag":           {status(404), 200, 1, tag, nil},
		"tag, HTML":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte("{}")) }, 200, 1, tag, nil},
		"tag, 400":      {status(400), 200, 1, tag, nil},
		"tag, 405":      {status(405), 200, 1, tag, nil},
		"no tag":        {status(404), 404, 0, "", nil},
		"denied":        {status(403), 404, 0, "", failure.Unauthorized},
		"API limits":    {status(429), 200, 0, "", failure.Unavailable},
		"tag not there": {status(404), 502, 0, "", failure.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := over(handler(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v2/a/referrers/" + subject.String():
					if r.Header.Get("Accept") != oci {
						t.Errorf("Accept = %s, want %s", r.Header.Get("Accept"), oci)
					}
					tt.api(w)
				case "/v2/a/manifests/" + tag:
					w.Header().Set("Content-Type", oci)
					w.WriteHeader(tt.tagStatus)
					_, _ = w.Write([]byte(listing(signature)))
				default:
					t.Errorf("unexpected request for %s", r.URL)
				}
			}))
			got, err := c.Referrers(t.Context(), head("r.example/a@"+subject.String(), ""))
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("Referrers: %v, want %v", err, tt.err)
			}
			if err == nil && (len(got.Manifests) != tt.count || got.Tag != tt.tag) {
				t.Errorf("Referrers = %+v, want %d by tag %q", got, tt.count, tt.tag)
			}
		})
	}
}

// TestReferrersTag checks the examples of the distribution specification.
func TestReferrersTag(t *testing.T) {
	a64 := strings.Repeat("a", 64)
	for d, want := range map[digest.Digest]string{
		digest.Digest("sha256:" + a64):       "sha256-" + a64,
		digest.Digest("sha512:" + a64 + a64): "sha512-" + a64,
		"test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+" + //nolint:misspell // as in the specification
			"truncation:alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOf" +
			"CharactersToExcerciseEncodedTruncation": "test-algorithm-using-algorithm-s-" +
			"alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot",
	} {
		if got := ReferrersTag(d); got != want {
			t.Errorf("ReferrersTag(%s) = %s, want %s", d, got, want)
		}
	}
}

// TestReferrersAreBounded checks that a long list is cut, and that the result says so.
func TestReferrersAreBounded(t *testing.T) {
	many := make([]digest.Digest, MaxReferrers+1)
	for i := range many {
		many[i] = digest.FromString(fmt.Sprint(i))
	}
	c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = w.Write([]byte(listing(many...)))
	}))
	got, err := c.Referrers(t.Context(), head("r.example/a@"+many[0].String(), ""))
	if err != nil || !got.More || len(got.Manifests) != MaxReferrers {
		t.Errorf("Referrers = %d, more: %t, %v, want %d and more", len(got.Manifests), got.More, err,
			MaxReferrers)
	}
}
