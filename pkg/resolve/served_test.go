// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// TestServed checks which hosts are asked for a digest, and whose answer counts. Mirrors that are
// not asked for tags are asked for digests.
func TestServed(t *testing.T) {
	d, other := resolvetest.Digest("1"), resolvetest.Digest("2")
	atMirror, own := "one.internal/library/nginx@"+d.String(), "docker.io/library/nginx@"+d.String()
	for _, tt := range []struct {
		name    string
		answers map[string]digest.Digest
		fails   map[string]error
		class   error
		asked   []string
	}{
		{name: "by a mirror", answers: map[string]digest.Digest{atMirror: d}, asked: []string{atMirror}},
		{name: "by the registry", answers: map[string]digest.Digest{own: d}, asked: []string{atMirror, own}},
		{name: "by none", class: failure.NotFound, asked: []string{atMirror, own}},
		{name: "by none, and the mirror is down", fails: map[string]error{atMirror: failure.Unavailable}, class: failure.Unavailable, asked: []string{atMirror, own}},
		{name: "by none, and the mirror refuses", fails: map[string]error{atMirror: failure.Unauthorized}, class: failure.NotFound},
		{name: "by the registry, and the mirror is down", answers: map[string]digest.Digest{own: d}, fails: map[string]error{atMirror: failure.Unavailable}},
		{name: "the registry is down", fails: map[string]error{own: failure.Unavailable}, class: failure.Unavailable},
		{name: "only on the nodes", fails: map[string]error{own: notToBeAsked}, class: failure.NotFound},
		{name: "only on the nodes, and down", fails: map[string]error{atMirror: failure.Unavailable, own: notToBeAsked}, class: failure.Unavailable},
		{name: "another digest", answers: map[string]digest.Digest{atMirror: other, own: other}, class: failure.Invalid},
	} {
		f := &resolvetest.Fake{}
		for image, d := range tt.answers {
			f.Set(image, d)
		}
		for image, err := range tt.fails {
			f.Fail(image, err)
		}
		m := &resolve.Mirrors{Next: f, Client: mirrorsOf(false, registry.Mirror{Host: "one.internal"})}
		err := m.Served(t.Context(), resolve.Request{Ref: ref.MustParse("nginx@" + d.String()), Fresh: true})
		if (err == nil) != (tt.class == nil) || !errors.Is(err, tt.class) {
			t.Errorf("%s: Served = %v, want %v", tt.name, err, tt.class)
		}
		if !errors.Is(tt.class, failure.NotFound) && errors.Is(err, failure.NotFound) {
			t.Errorf("%s: Served = %v, which says that nobody has it", tt.name, err)
		}
		var asked []string
		for _, r := range f.Asked() {
			asked = append(asked, r.Ref.Canonical())
		}
		if diff := cmp.Diff(tt.asked, asked); diff != "" && tt.asked != nil {
			t.Errorf("%s: asked -want +got\n%s", tt.name, diff)
		}
	}
}
