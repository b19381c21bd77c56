// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
)

// TestTagsOfSeveralPages checks that each page is got from the repository's own address, whatever
// address the registry sends for it, and that texts that are no tags are left out.
func TestTagsOfSeveralPages(t *testing.T) {
	var asked []string
	c := over(withToken("https://r.example/token", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "r.example" {
			t.Errorf("request to %s", r.URL.Host)
		}
		asked = append(asked, r.URL.RequestURI())
		switch r.URL.Query().Get("last") {
		case "":
			w.Header().Set("Link", `</v2/a/tags/list?n=2&last=2>; rel="next"`)
			_, _ = w.Write([]byte(`{"name":"a","tags":["1","2","\u001b[2J","a b"]}`))
		case "2":
			w.Header().Set("Link", `<http://169.254.169.254/x?last=3>; rel=next`)
			_, _ = w.Write([]byte(`{"name":"a","tags":["3"]}`))
		case "3":
			w.Header().Set("Link", `</v2/a/tags/list?last=2&n=2>; rel="next"`) // again
			_, _ = w.Write([]byte(`{"name":"a","tags":null}`))
		}
	}))
	got, err := c.Tags(t.Context(), head("r.example/a:1", ""))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Tags{Names: []string{"1", "2", "3"}}, got); diff != "" {
		t.Errorf("Tags: -want +got\n%s", diff)
	}
	want := []string{
		"/v2/a/tags/list?n=1000", "/v2/a/tags/list?last=2&n=2", "/v2/a/tags/list?last=3",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
}

// TestTagsWithManifests checks the list of Artifact Registry and Container Registry.
func TestTagsWithManifests(t *testing.T) {
	d := digest.FromString("a")
	c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"child":[],"name":"p/r/a","tags":["1","latest"],"manifest":{
			%q:{"imageSizeBytes":"1","layerId":"","mediaType":"m","tag":["1","latest"],"timeCreatedMs":"1"},
			"sha256:zz":{"tag":["2"]}}}`, d)
	}))
	got, err := c.Tags(t.Context(), head("r.example/a:1", ""))
	want := &Tags{
		Names:    []string{"1", "latest"},
		ByDigest: map[digest.Digest][]string{d: {"1", "latest"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Tags: %v, -want +got\n%s", err, diff)
	}
}

// TestTagsAreBounded checks that a list without an end ends.
func TestTagsAreBounded(t *testing.T) {
	pages := 0
	c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
		pages++
		w.Header().Set("Link", fmt.Sprintf(`</v2/a/tags/list?last=%d>; rel="next"`, pages))
		_, _ = w.Write([]byte(`{"tags":[` + strings.Repeat(`"t",`, 9999) + `"t"]}`))
	}), Host{Name: "*", RequestsPerSecond: 1e6})
	got, err := c.Tags(t.Context(), head("r.example/a:1", ""))
	if err != nil || !got.More || len(got.Names) != MaxTags || pages != MaxTags/10000 {
		t.Errorf("Tags = %d tags of %d pages, more: %t, %v", len(got.Names), pages, got.More, err)
	}
}

func TestTagsFail(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   failure.Class
	}{
		{http.StatusNotFound, "", failure.NotFound},
		{http.StatusTooManyRequests, "", failure.Unavailable},
		{http.StatusOK, "<html>", failure.Invalid},
		{http.StatusOK, "[]", failure.Invalid},
		{http.StatusOK, `{"tags":{}}`, failure.Invalid},
		{http.StatusOK, `{"tags":["` + strings.Repeat("x", maxList) + `"]}`, failure.Invalid},
	} {
		c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		if _, err := c.Tags(t.Context(), head("r.example/a:1", "")); !errors.Is(err, tt.want) {
			t.Errorf("Tags with %d %.20s: %v, want %s", tt.status, tt.body, err, tt.want)
		}
	}
}
