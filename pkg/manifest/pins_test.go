// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestPinned checks that references with a digest are returned which could not be pinned where they
// are. D stands for the hexadecimal text of a digest.
func TestPinned(t *testing.T) {
	hex := strings.Repeat("a", 64)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{
			"rollout.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: " +
				"{containers: [{image: 'a:1@sha256:D'}, {image: 'b@sha256:D'}, {image: 'c:1'}]}}}",
			[]string{
				"3:47 /spec/template/spec/containers/0/image a:1@sha256:D",
				"3:135 /spec/template/spec/containers/1/image b@sha256:D",
			},
		},
		{
			"patch.yaml", "- {op: replace, path: /spec/containers/0/image, value: 'a:1@sha256:D'}",
			[]string{"1:56 /spec/containers/0/image a:1@sha256:D"},
		},
		{
			"rollout.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n" +
				"image: 'a:1@sha256:D' # tagpin:ignore",
			nil,
		},
		{
			"values.yaml", "global: {imageRegistry: x.io}\nimage: a:1@sha256:D",
			[]string{"2:8 /image a:1@sha256:D"},
		},
		{
			"values.yaml", "global: {imageRegistry: x.io}\nimage: {repository: a, tag: 1, digest: 'sha256:D'}",
			[]string{"2:29 /image/tag a:1@sha256:D"},
		},
		{
			"values.yaml", "image: {repository: a, tag: v1, sha: D}",
			[]string{"1:29 /image/tag a:v1@sha256:D"},
		},
	} {
		f := parse(t, tt.name, strings.ReplaceAll(tt.text, "D", hex))
		var got []string
		for _, p := range f.Pinned {
			got = append(got, fmt.Sprintf("%d:%d %s %s", p.Line, p.Column, p.Pointer,
				strings.ReplaceAll(p.Text, hex, "D")))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("pins of %s %s = %v, want %v", tt.name, tt.text, got, tt.want)
		}
		for _, l := range f.Left {
			if strings.Contains(l.Text, "@") {
				t.Errorf("%s is in File.Left too", l.Text)
			}
		}
	}
}
