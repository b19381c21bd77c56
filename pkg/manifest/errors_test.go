// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/manifest"
)

func TestParseErrors(t *testing.T) {
	const tooLarge = "the file needs too much memory: its aliases or merge keys repeat too much, " +
		"or its keys are too long"
	for _, tt := range []struct{ name, file, text, want string }{
		{
			"tab", "f.yaml", pod + "spec:\n\tcontainers: []\n",
			"f.yaml:5: found character that cannot start any token",
		},
		{
			"indent", "f.yaml", pod + "spec:\n  containers:\n  - name: a\n   image: b\n",
			"f.yaml:7: did not find expected key",
		},
		{
			"second document", "f.yaml", pod + "---\na: [1\nb: 2\n",
			"f.yaml:6: did not find expected ',' or ']'",
		},
		{"quote", "f.yaml", "a: b\nc: 'd\ne: f\n", "f.yaml:2: found unexpected end of stream"},
		{"template", "f.yaml", "a: b\n{{- if .Values.x }}\nc: d\n", "f.yaml:2: "},
		{"alias", "f.yaml", "a: *nowhere\n", "f.yaml:1: unknown anchor 'nowhere' referenced"},
		{
			"alias of another document", "f.yaml", "a: &x b\n---\nc: 1\nd: *x\n",
			"f.yaml:4: unknown anchor 'x' referenced: it is in another document",
		},
		{
			"merge of another document", "f.yaml", pod + "spec: &x {containers: []}\n---\n" + pod +
				"spec: {<<: *x}\n", "f.yaml:9: unknown anchor 'x' referenced: it is in another document",
		},
		{"loop", "f.yaml", "a: &a\n- b: *a\n", "f.yaml:1: anchor a contains itself"},
		{"merge", "f.yaml", "a: 1\nb:\n  <<: 2\n", "f.yaml:3: the value of a merge key is not a mapping"},
		{"twice", "f.yaml", pod + "spec:\n  containers:\n  - name: a\n    image: b\n" +
			"    image: c\n", `f.yaml:8: duplicate key "image" in a mapping`},
		{
			"twice in JSON", "f.json", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\n" +
				"\"spec\":{\"containers\":[{\"image\":\"a\"}],\n\"containers\":[]}}",
			`f.json:3: duplicate key "containers" in a mapping`,
		},
		{
			"twice in a kind that is not known", "f.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n" +
				"spec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: 'nginx@" +
				pinned.String() + "'\n        image: nginx:1\n",
			`f.yaml:9: duplicate key "image" in a mapping`,
		},
		{
			"twice in a kind that is not known, first empty", "f.yaml", "apiVersion: a.io/v1\nkind: A\n" +
				"spec: {containers: [{image: '',\nimage: nginx:1}]}\n",
			`f.yaml:4: duplicate key "image" in a mapping`,
		},
		{
			"a field of a kind that is not known twice", "f.yaml", "apiVersion: a.io/v1\nkind: A\n" +
				"spec: {image: ''}\nspec: {image: b:1}\n",
			`f.yaml:4: duplicate key "spec" in a mapping`,
		},
		{
			"kind twice in a list", "f.yaml", "kind: List\napiVersion: v1\nitems: []\nitems: []\n",
			`f.yaml:4: duplicate key "items" in a mapping`,
		},
		{
			"kind twice", "f.yaml", "apiVersion: batch/v1\nkind: CronJob\nkind: Job\n" +
				"spec: {template: {spec: {containers: [{name: a, image: b:1}]}}}\n",
			`f.yaml:3: duplicate key "kind" in a mapping`,
		},
		{
			"kind twice in JSON", "f.json", `{"apiVersion":"batch/v1","kind":"CronJob","kind":"Job",` +
				`"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b:1"}]}}}}`,
			`f.json:1: duplicate key "kind" in a mapping`,
		},
		{
			"apiVersion and kind twice, of a Kustomization and of a Pod", "f.yaml",
			"apiVersion: kustomize.config.k8s.io/v1\nkind: X\n" + pod +
				"spec: {containers: [{name: a, image: b:1}]}\n",
			`f.yaml:3: duplicate key "apiVersion" in a mapping`,
		},
		{
			"kind twice, first empty", "f.yaml", "kind: ''\n" + pod + "spec: {}\n",
			`f.yaml:3: duplicate key "kind" in a mapping`,
		},
		{
			"kind of an item twice", "f.yaml", "apiVersion: v1\nkind: List\nitems:\n" +
				"- {apiVersion: v1, kind: ConfigMap, kind: Pod, spec: {containers: [{image: a}]}}\n",
			`f.yaml:4: duplicate key "kind" in a mapping`,
		},
		{
			"items twice, first empty", "f.yaml", "apiVersion: v1\nkind: List\nitems:\nitems:\n" +
				"- apiVersion: helm.toolkit.fluxcd.io/v2\n  kind: HelmRelease\n" +
				"  spec: {values: {image: 'a:1'}}\n",
			`f.yaml:4: duplicate key "items" in a mapping`,
		},
		{
			"spec of a HelmRelease twice, first empty", "f.yaml",
			"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {}\n" +
				"spec: {values: {image: a:1}}\n",
			`f.yaml:4: duplicate key "spec" in a mapping`,
		},
		{
			"values of a HelmRelease twice, first empty", "f.yaml",
			"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n" +
				"spec:\n  values:\n  values: {image: a:1}\n",
			`f.yaml:5: duplicate key "values" in a mapping`,
		},
		{
			"images of a Kustomization twice, first empty", "kustomization.yaml",
			"images: []\nimages: [{name: a, newTag: '1'}]\n",
			`kustomization.yaml:2: duplicate key "images" in a mapping`,
		},
		{
			"images of a Kustomization in two spellings", "kustomization.yaml",
			"Images: []\nimages: [{name: a, newTag: '1'}]\n",
			`kustomization.yaml:2: duplicate key "images" in a mapping: it is the same as Images, because ` +
				`kustomize ignores the case of keys`,
		},
		{
			"tag of a Kustomization in two spellings", "kustomization.yaml",
			"images:\n- name: a\n  newTag: '1@" + pinned.String() + "'\n  newtag: '1'\n",
			`kustomization.yaml:4: duplicate key "newtag" in a mapping: it is the same as newTag`,
		},
		{
			"kind of a Kustomization in two spellings", "kustomization.yaml",
			"apiVersion: apps/v1\nkind: Deployment\nKind: Kustomization\nimages: [{name: a, newTag: '1'}]\n",
			`kustomization.yaml:3: duplicate key "Kind" in a mapping: it is the same as kind`,
		},
		{
			"image of a transformer in two spellings", "t.yaml", "apiVersion: builtin\n" +
				"kind: ImageTagTransformer\nimageTag: {name: a, newTag: '1'}\nimagetag: {}\n",
			`t.yaml:4: duplicate key "imagetag" in a mapping: it is the same as imageTag`,
		},
		{
			"images of a Kustomization in a merge key and after it", "kustomization.yaml",
			"x: &x {newTag: '2'}\nimages:\n- name: a\n  NewTag: '1'\n  <<: *x\n",
			`kustomization.yaml:1: duplicate key "newTag" in a mapping: it is the same as NewTag`,
		},
		{
			"tag in values twice, first set by the chart", "values.yaml",
			"image:\n  repository: a\n  tag: ''\n  tag: '1'\n",
			`values.yaml:4: duplicate key "tag" in a mapping`,
		},
		{
			"path of an operation twice", "p.yaml", "- op: add\n  path: x\n" +
				"  path: /spec/containers/0/image\n  value: a:1\n",
			`p.yaml:3: duplicate key "path" in a mapping`,
		},
		{
			"op twice", "p.json", `[{"op":"test","op":"add","path":"/spec/containers/0/image","value":"a"}]`,
			`p.json:1: duplicate key "op" in a mapping`,
		},
		{
			"digest twice", "kustomization.yaml", "images:\n- name: a\n  newTag: b\n  digest: c\n" +
				"  digest: d\n", `kustomization.yaml:5: duplicate key "digest" in a mapping`,
		},
		{
			"no Dockerfile", "Dockerfile", "FROM a\n\nhello world\n",
			`Dockerfile:3: this is no instruction of a Dockerfile`,
		},
		{"empty Dockerfile", "Dockerfile", "", `Dockerfile:1: file with no instructions`},
		{"heredoc", "Dockerfile", "FROM a\nRUN <<E\n", `Dockerfile:2: unterminated heredoc`},
		{"binary Dockerfile", "Dockerfile", "\x00\x01 a\n", `Dockerfile:1: this is no instruction of a Dockerfile`},
		{"broken JSON", "f.json", "{\"kind\":\"Pod\",\n\"spec\":{]}", "f.json:2: invalid character ']'"},
		{"short JSON", "f.json", "{\"kind\":\"Pod\",\n\"spec\":{", "f.json:2: unexpected EOF"},
		{"UTF-16", "f.yaml", "\xFF\xFEk\x00", "f.yaml:1: the file is UTF-16; manifests are UTF-8"},
		{"binary", "f.yaml", "\x00\x01", "f.yaml:1: control characters are not allowed"},
		{"no UTF-8", "f.yaml", "a: b\nc: \xff\n", "f.yaml:2: "},
		{
			"no UTF-8 in a long line", "f.yaml", "a: b\nc: " + strings.Repeat("d", 5000) + "\xff\n",
			"f.yaml:2: invalid leading UTF-8 octet",
		},
		{"bomb", "f.yaml", bomb(), tooLarge},
		{"bomb of objects", "f.yaml", shared("spec: *x, kind: Pod, apiVersion: v1"), tooLarge},
		{"bomb of merges", "f.yaml", shared("<<: *x"), tooLarge},
		{"bomb of repeated keys", "f.yaml", repeats(), tooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := manifest.Parse(tt.file, []byte(tt.text), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want %s", err, tt.want)
			}
		})
	}
}

// bomb returns a small file with an object that is gigabytes large when its aliases are followed.
func bomb() string {
	var b strings.Builder
	b.WriteString(pod + "spec:\n  a0: &a0 [xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\n")
	for i := range 12 {
		fmt.Fprintf(&b, "  a%d: &a%d [%s]\n", i+1, i+1,
			strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	return b.String()
}

// repeats returns a small file with an object that is gigabytes large when both values of each key
// count that a merge key repeats.
func repeats() string {
	var b strings.Builder
	b.WriteString(pod + "x:\n- &l0 {a: 1}\n")
	for i := range 40 {
		fmt.Fprintf(&b, "- &b%d {a: [*l%d]}\n- &l%d {a: *l%d, <<: *b%d}\n", i, i, i+1, i, i)
	}
	return b.String()
}

// shared returns a file of 128 KiB with a list of 3,000 items. An item can refer to a mapping of
// 6,000 keys as *x.
func shared(item string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: List\nx: &x\n")
	for i := range 6000 {
		fmt.Fprintf(&b, "  k%d: v\n", i)
	}
	b.WriteString("items:\n" + strings.Repeat("- {"+item+"}\n", 3000))
	return b.String()
}
