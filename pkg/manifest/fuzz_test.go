// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// scalars returns all scalars that the YAML parser finds, with their tags, and the kinds of the
// nodes that have them.
func scalars(data []byte) (all []string) {
	var add func(n *yaml.Node)
	add = func(n *yaml.Node) {
		all = append(all, fmt.Sprint(n.Kind, n.ShortTag(), " ", n.Value))
		for _, child := range n.Content {
			add(child)
		}
	}
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var n yaml.Node
		if d.Decode(&n) != nil {
			return all
		}
		add(&n)
	}
}

// same reports whether a scalar is the same after pinning, or is a pin of it.
func same(before, after string) bool {
	return before == after || before+"@"+pinned.String() == after
}

// FuzzEdit pins all references of a file. It checks that Edit succeeds and that the result has the
// same objects, the same scalars except the references, and no unpinned reference.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{
		pod + "spec:\n  containers:\n  - name: a\n    image: nginx:1.25 # c\n" +
			"  - {image: \"b:1\", name: b}\n",
		pod + "spec:\r\n  initContainers:\r\n  - &x {image: |-\n     a:1\n   , name: 'it''s'}\n" +
			"  - <<: *x\n",
		"%YAML 1.1\n---\n" + pod + "spec: {volumes: [{name: v, image: {reference: ! 'x/y:1'}}]}\n...\n",
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":{\"containers\":[{\"image\":\"a\\u002fb\"}]}}",
		"kind: PodList\napiVersion: v1\nitems:\n- spec:\n    containers:\n    - image: &a nginx\n" +
			"    - image: *a\n",
		pod + "!!merge spec: {!!binary Y29udGFpbmVycw==: [{image: !!binary 'bmdpbng='}]}\n" +
			"! '<<': {x: y}\n",
		"\uFEFFkind: Pod\u2028apiVersion: v1\u0085spec: {containers: [{image: é.x/a}, {? image : b}]}",
	} {
		f.Add("f", []byte(seed))
	}
	for name, seed := range map[string]string{
		"kustomization.yaml": "images:\n- name: a\n  newTag: b\n- {name: a, digest: , newTag: 'b'}\n",
		"values.yaml": "image: {registry: a, repository: b, tag: 1}\nx:\n  aImage:\n    <<: {tag: a}\n" +
			"    repository: c\n  image: &x a:b # tagpin:ignore\n",
		"Dockerfile":   "# syntax=a/b\nFROM \\\n # x\n a AS b\nCOPY --from=c:1 / /\nRUN --mount=from=b/c true\n",
		"Dockerfile.x": "{\"syntax\": \"a:1\"}",
		"Dockerfile.y": "// syntax=a:1\nb",
		"compose.yaml": "services:\n  a: {image: b}\n",
		"ci.yaml":      "on: push\njobs: {a: {container: b, steps: [{uses: docker://c}]}}\n",
	} {
		f.Add(name, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		manifest.ReferencedIn(data)
		s, err := manifest.Parse(name, data, nil)
		if err != nil {
			return
		}
		list := edits(s)
		got, err := s.Edit(list)
		if err != nil {
			if name != "f" || strings.Contains(err.Error(), "through an alias") ||
				strings.Contains(err.Error(), "base64") {
				return // the parts of several references can share a scalar, or anything else one
			}
			t.Fatalf("Edit of %q: %v", data, err)
		}
		if before, after := scalars(data), scalars(got); name == "f" &&
			!slices.EqualFunc(before, after, same) {
			t.Fatalf("Edit of %q = %q, with other scalars than references changed: %q, %q",
				data, got, before, after)
		}
		again, err := manifest.Parse(name, got, nil)
		if err != nil {
			t.Fatalf("Parse of the edited %q: %v", got, err)
		}
		if left := edits(again); len(left) > 0 || len(again.Objects) != len(s.Objects) {
			t.Errorf("Edit of %q = %q: %d unpinned references and %d objects, want 0 and %d",
				data, got, len(left), len(again.Objects), len(s.Objects))
		}
		if len(list) == 0 && !bytes.Equal(got, data) {
			t.Errorf("Edit without edits = %q, want %q", got, data)
		}
	})
}
