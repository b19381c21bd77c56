// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// hosts starts a registry with a mirror, and returns the layer that asks them and an image.
func hosts(t *testing.T, resolves bool, own, mirror http.HandlerFunc) (
	*resolve.Mirrors, ref.Reference,
) {
	t.Helper()
	var names []string
	for _, h := range []http.HandlerFunc{own, mirror} {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		names = append(names, strings.TrimPrefix(s.URL, "http://"))
	}
	c := &registry.Client{
		Network: network.Network{Rules: loopback}, ExplainAll: true,
		Hosts: []registry.Host{
			{
				Name: names[0], Insecure: true,
				Mirrors: []registry.Mirror{{Host: names[1], Resolve: resolves}},
			},
			{Name: names[1], Insecure: true},
		},
	}
	t.Cleanup(c.Close)
	return &resolve.Mirrors{Client: c}, ref.MustParse(names[0] + "/a:1")
}

func missing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

func sends(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// TestBlobFromMirrors checks that any mirror may have a blob, and that no other host is asked after
// the caller got bytes.
func TestBlobFromMirrors(t *testing.T) {
	b := registry.Blob{Digest: digest.FromString("layer"), Size: 5}
	for name, tt := range map[string]struct {
		own, mirror http.HandlerFunc
		want        string
		err         error
	}{
		"mirror":       {missing, sends("layer"), "layer", nil},
		"registry":     {sends("layer"), missing, "layer", nil},
		"none":         {missing, missing, "", failure.NotFound},
		"wrong mirror": {sends("layer"), sends("LAYER"), "LAYER", failure.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			m, image := hosts(t, false, tt.own, tt.mirror)
			var got bytes.Buffer
			err := m.Blob(t.Context(), resolve.Request{Ref: image}, b, func(r io.Reader) error {
				_, err := got.ReadFrom(r)
				return err
			})
			if got.String() != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Blob = %q, %v, want %q, %v", got.String(), err, tt.want, tt.err)
			}
		})
	}
}

// TestTagsFromMirrors checks that only a mirror that may be asked for tags is asked for a list.
func TestTagsFromMirrors(t *testing.T) {
	for _, resolves := range []bool{false, true} {
		m, image := hosts(t, resolves, sends(`{"tags":["own"]}`), sends(`{"tags":["mirror"]}`))
		want := "own"
		if resolves {
			want = "mirror"
		}
		got, err := m.Tags(t.Context(), resolve.Request{Ref: image})
		if err != nil || !slices.Equal(got.Names, []string{want}) {
			t.Errorf("Tags with resolve: %t = %+v, %v, want %s", resolves, got, err, want)
		}
	}
}
