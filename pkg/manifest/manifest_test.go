// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/ref"
)

const pinned = digest.Digest("sha256:" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

// parse parses a file of the built-in kinds.
func parse(t *testing.T, name, text string) *manifest.File {
	t.Helper()
	s, err := manifest.Parse(name, []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// edits returns edits that pin every valid reference of a stream that has no digest yet.
func edits(s *manifest.File) []manifest.Edit {
	var list []manifest.Edit
	for _, o := range s.Objects {
		for _, spec := range o.PodSpecs {
			for _, r := range spec.References {
				parsed, err := ref.Parse(r.Text)
				if err == nil && !parsed.Pinned() {
					text := parsed.WithDigest(pinned).String()
					list = append(list, manifest.Edit{Object: o, Reference: r, Text: text})
				}
			}
		}
	}
	return list
}

// marked returns a file before and after pinning. In text, «nginx» marks a reference that must be
// found and pinned.
func marked(text string) (before, after string) {
	before = strings.NewReplacer("«", "", "»", "").Replace(text)
	after = strings.NewReplacer("«", "", "»", "@"+pinned.String()).Replace(text)
	return before, after
}

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"

func TestEdit(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"nothing", ""},
		{"plain", pod + "spec:\n  containers:\n  - name: a\n" +
			"    image: «nginx:1.25»   # the web server\n"},
		{"the same line in a text", "kind: Pod\napiVersion: v1\nmetadata:\n  annotations:\n    a: |\n" +
			"      image: nginx:1\n    b: \"\n      image: nginx:1\n      \"\nspec:\n  containers:\n" +
			"    - image: «nginx:1»\n"},
		{"lines in braces", pod + "spec: {containers: [{\n  image: «nginx:1»\n  }, {\n" +
			"  name: b,\n  image: \"«nginx:2»\" # c\n  },\n  {image:\n  «nginx:3»\n}]}\n"},
		{"no end of line", pod + "spec: {containers: [{name: a, image: «nginx:1.25»}]}"},
		{"quoted", pod + "spec:\n  containers:\n  - image: \"«nginx»\"\n    name: a\n" +
			"  - {name: b, 'image': '«nginx:1»'}\n"},
		{"escaped", pod + "spec:\n  containers:\n  - {name: \"\\\"image\\\"\", image: \"«nginx:1»\"}\n"},
		{"blocks", pod + "spec:\n  containers:\n  - name: a\n    image: |- # nginx:1\n      «nginx:1»\n" +
			"\n  - name: b\n    image: >-\n        «nginx:2»\n"},
		{"on its own line", pod + "spec:\n  containers:\n  - name: a\n    image:\n      # which\n" +
			"      «nginx:1»\n"},
		{"tag and anchor", pod + "spec:\n  containers:\n  - {name: a, image: !!str &i \"«nginx:1»\"}\n" +
			"  - name: b\n    image: *i\n"},
		{"anchor of a container", pod + "spec:\n  containers:\n  - &c\n    name: a\n" +
			"    image: «nginx:1»\n  initContainers:\n  - <<: *c\n    name: b\n" +
			"  - {<<: [*c], image: «nginx:2»}\n"},
		{"carriage returns", strings.ReplaceAll(pod+"spec:\n  containers:\n  - name: ä\n"+
			"    image: «nginx:1»\n  - image: '«nginx:2»'\n", "\n", "\r\n")},
		{"byte order mark", "\uFEFF" + pod + "spec: {containers: [{name: ü, image: «nginx:1»}]}\n"},
		{"byte order mark and one line", "\uFEFF" +
			"{kind: Pod, apiVersion: v1, spec: {containers: [{name: é, image: «nginx:1»}]}}\n"},
		{"other line ends", pod + "spec:\n  # one\u2028  # two\u0085  containers:\n" +
			"  - {name: a, image: «nginx:1»}\n"},
		{"documents", "# head\n---\n" + pod + "spec: {containers: [{name: a, image: «a:1»}]}\n" +
			"--- # next\n# nothing\n---\nkind: ConfigMap\napiVersion: v1\ndata: {image: nginx:1}\n" +
			"...\n---\napiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n" +
			"      containers:\n      - {name: a, image: «b:1»}\n"},
		{"all places", pod + "spec:\n  containers: [{name: a, image: «c»}]\n" +
			"  initContainers: [{name: b, image: «i»}]\n" +
			"  ephemeralContainers: [{name: c, image: «e»}]\n  volumes:\n" +
			"  - {name: v, image: {reference: «v»}}\n  - {name: r, rbd: {image: r}}\n"},
		{"pinned already", pod + "spec:\n  containers:\n" +
			"  - {name: a, image: 'nginx@" + string(pinned) + "'}\n"},
		{"no text", pod + "spec:\n  containers:\n  - {name: a}\n  - {name: b, image: }\n" +
			"  - {name: c, image: 1}\n  - {name: d, image: ''}\n"},
		{"list", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: batch/v1\n  kind: CronJob\n" +
			"  spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: «a:1»}]}}}}}\n" +
			"- {kind: Service, apiVersion: v1}\n" +
			"- {kind: Pod, apiVersion: v1, spec: {containers: [{name: a, image: «b:1»}]}}\n"},
		{"typed list", "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n" +
			"- spec: {template: {spec: {containers: [{name: a, image: «a:1»}]}}}\n"},
		{"function", "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\n" +
			"functionConfig: {kind: Pod, apiVersion: v1, spec: {containers: [{name: a, image: a}]}}\n" +
			"items:\n- {kind: Pod, apiVersion: v1, spec: {containers: [{name: a, image: «b:1»}]}}\n"},
		{"JSON", "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n" +
			"\t\"spec\": {\"containers\": [{\"image\": \"«nginx:1»\", \"name\": \"a\"}]}}\n"},
		{"JSON values", "" +
			`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"a","image":"«a»"}]}}` +
			`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"a","image":"«b»"}]}}`},
		{"JSON, then YAML", "" +
			`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"a","image":"«a»"}]}}` +
			"\n---\n" + pod + "spec: {containers: [{name: a, image: «nginx:1»}]}\n"},
		{"no objects", "- a\n- {image: nginx}\n---\njust text\n---\nkind: [Pod]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after := marked(tt.text)
			s := parse(t, "f.yaml", before)
			got, err := s.Edit(edits(s))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(after, string(got)); diff != "" {
				t.Errorf("Edit: -want +got\n%s", diff)
			}
		})
	}
}

func TestEscapedJSON(t *testing.T) {
	text := `{"kind":"Pod","apiVersion":"v1",` +
		`"spec":{"containers":[{"name":"a","image":"ghcr.io\/a\u002fb:1"}]}}`
	s := parse(t, "f.json", text)
	got, err := s.Edit(edits(s))
	want := strings.Replace(text, `ghcr.io\/a\u002fb:1`, "ghcr.io/a/b:1@"+pinned.String(), 1)
	if err != nil || string(got) != want {
		t.Errorf("Edit = %s, %v, want %s", got, err, want)
	}
}

// TestTextOverLines edits a text that goes on in the next line.
func TestTextOverLines(t *testing.T) {
	before := pod + "spec:\n  containers:\n  - image: \"nginx\\\n      :1\" # c\n    name: a\n"
	want := pod + "spec:\n  containers:\n  - image: \"nginx:1@" + pinned.String() +
		"\" # c\n    name: a\n"
	s := parse(t, "f.yaml", before)
	if got, err := s.Edit(edits(s)); err != nil || string(got) != want {
		t.Errorf("Edit of %q = %q, %v, want %q", before, got, err, want)
	}
}

func TestPosition(t *testing.T) {
	text := pod + "spec:\n  containers:\n  - {name: äö, image: nginx:1}\n  - name: b\n" +
		"    image: !!str &x\n      'nginx:2'\n  - name: c\n"
	s := parse(t, "f.yaml", text)
	var got []string
	o := s.Objects[0]
	for _, r := range o.PodSpecs[0].References {
		line, column := o.Position(r)
		got = append(got, fmt.Sprintf("%s %d:%d", r.Name, line, column))
	}
	if diff := cmp.Diff([]string{"äö 6:23", "b 9:7", "c 1:1"}, got); diff != "" {
		t.Errorf("Position: -want +got\n%s", diff)
	}
}

// TestPositionAfterByteOrderMark checks that a byte order mark has no column.
func TestPositionAfterByteOrderMark(t *testing.T) {
	for text, want := range map[string]int{
		"{kind: Pod, apiVersion: v1, spec: {containers: [{name: é, image: nginx}]}}":            66,
		`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"é","image":"nginx"}]}}`: 75,
	} {
		s := parse(t, "f", "\uFEFF"+text)
		o := s.Objects[0]
		if line, column := o.Position(o.PodSpecs[0].References[0]); line != 1 || column != want {
			t.Errorf("Position in %s = %d:%d, want 1:%d", text, line, column, want)
		}
	}
}

// TestEditsDisagree gives different texts to two containers that share one scalar through an alias.
func TestEditsDisagree(t *testing.T) {
	text := pod + "spec:\n  containers:\n  - {name: a, image: &i nginx:1}\n  - {name: b, image: *i}\n"
	s := parse(t, "f.yaml", text)
	list := edits(s)
	list[1].Text = "nginx:2"
	const want = "f.yaml:6: can't replace nginx:1 with both "
	if got, err := s.Edit(list); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Edit = %s, %v, want an error that begins with %q", got, err, want)
	}
}

// TestOtherUses checks that Edit changes no text that is not to be pinned and has the same anchor.
func TestOtherUses(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		line, other      int
	}{
		{
			"the name of the container", "f.yaml", "apiVersion: v1\nkind: Pod\n" +
				"metadata: {name: &n nginx, labels: {app: *n}}\nspec:\n  containers: [{name: *n, image: *n}]\n",
			5, 3,
		},
		{
			"an environment variable", "f.yaml", pod + "spec:\n  containers:\n  - name: a\n    env:\n" +
				"    - name: x\n      value: &img app:1\n    image: *img\n", 10, 9,
		},
		{
			"a key", "f.yaml", pod + "spec:\n  containers:\n  - name: a\n    image: &img app\n" +
				"  volumes:\n  - *img : x\n", 7, 9,
		},
		{"an argument", "f.yaml", pod + "spec:\n  containers:\n  - name: a\n    image: &img app:1\n" +
			"    args:\n    - *img\n", 7, 9},
		{
			"an image that is ignored", "f.yaml", pod + "spec:\n  containers:\n  - name: a\n" +
				"    image: &img app:1\n  - name: b\n    image: *img # tagpin:ignore\n", 7, 9,
		},
		{
			"a merge key", "compose.yaml", "x-a: &c\n  image: app:1\nservices:\n  a:\n    <<: *c\n" +
				"  b:\n    <<: *c\n    build: .\n", 5, 7,
		},
		{
			"a version", "values.yaml", "appVersion: &v '1'\nimage: {repository: a, tag: *v}\n", 2, 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.file, tt.text)
			want := fmt.Sprintf("%s:%d: can't edit ", tt.file, tt.line)
			also := fmt.Sprintf(": line %d also has this text through an alias", tt.other)
			got, err := s.Edit(edits(s))
			if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), also) {
				t.Errorf("Edit of %s = %s, %v, want an error with %q and %q", tt.text, got, err, want, also)
			}
		})
	}
}

// TestListsOfLists checks that a Pod is one object even if nested aliases repeat it a thousand
// times.
func TestListsOfLists(t *testing.T) {
	var b strings.Builder
	b.WriteString("kind: List\napiVersion: v1\nitems:\n" +
		"- &l0 {kind: Pod, apiVersion: v1, spec: {containers: [{name: a, image: nginx}]}}\n")
	for i := range 10 {
		fmt.Fprintf(&b, "- &l%d {kind: List, apiVersion: v1, items: [*l%d, *l%d]}\n", i+1, i, i)
	}
	s, err := manifest.Parse("f.yaml", []byte(b.String()), nil)
	if err != nil || len(s.Objects) != 1 {
		t.Fatalf("Parse = %d objects, %v, want one", len(s.Objects), err)
	}
	if got, err := s.Edit(edits(s)); err != nil || !strings.Contains(string(got), "nginx@sha256:") {
		t.Errorf("Edit = %s, %v, want a pinned image", got, err)
	}
}

// TestEditConfirmed checks that Edit refuses a text that would not be parsed as one scalar.
func TestEditConfirmed(t *testing.T) {
	digest := " " + pinned.String()
	for _, text := range []string{
		"a: b", "x # y", "'", "x\nkind: y", "", "a:" + digest, "x #" + digest, "x\nkind:" + digest,
		"- " + digest, "x" + digest + " # y", "x:\n    kind:" + digest, "@" + pinned.String(),
	} {
		s := parse(t, "f.yaml", pod+"spec:\n  containers:\n  - name: a\n"+
			"    image: nginx\n")
		e := manifest.Edit{
			Object:    s.Objects[0],
			Reference: s.Objects[0].PodSpecs[0].References[0],
			Text:      text,
		}
		if got, err := s.Edit([]manifest.Edit{e}); err == nil {
			t.Errorf("Edit(%q) = %s, want an error", text, got)
		}
	}
}

// TestEditResult checks that Result is the text that a reference has in the edited file, where the
// text of the edit has no tag.
func TestEditResult(t *testing.T) {
	old := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct{ file, text, want string }{
		{"f.yaml", pod + "spec: {containers: [{name: a, image: 'nginx:1'}]}", "nginx"},
		{"f.yaml", pod + "spec: {containers: [{name: a, image: 'nginx:1@" + old + "'}]}", "nginx"},
		{"Dockerfile", "FROM nginx:1\n", "nginx"},
		{"ci.yaml", "on: push\njobs: {a: {steps: [{uses: 'docker://nginx:1'}]}}\n", "nginx"},
		{"kustomization.yaml", "images: [{name: nginx, newTag: '1'}]\n", "nginx:1"},
		{"kustomization.yaml", "images: [{name: nginx, newTag: '1', digest: }]\n", "nginx:1"},
		{"kustomization.yaml", "images: [{name: nginx, newTag: '1', digest: '" + old + "'}]\n", "nginx:1"},
		{"kustomization.yaml", "images: [{name: nginx, digest: '" + old + "'}]\n", "nginx"},
		{"values.yaml", "image: {repository: nginx, tag: '1'}\n", "nginx:1"},
		{"values.yaml", "image: {repository: nginx, tag: '1@" + old + "'}\n", "nginx:1"},
		{"values.yaml", "image: {repository: nginx, tag: '1', digest: '" + old + "'}\n", "nginx:1"},
	} {
		s := parse(t, tt.file, tt.text)
		e := manifest.Edit{
			Object:    s.Objects[0],
			Reference: s.Objects[0].PodSpecs[0].References[0],
			Text:      "nginx@" + pinned.String(),
		}
		got, err := s.Edit([]manifest.Edit{e})
		if err != nil {
			t.Errorf("Edit of %s: %v", tt.text, err)
			continue
		}
		after := parse(t, tt.file, string(got)).Objects[0].PodSpecs[0].References[0].Text
		if want := tt.want + "@" + pinned.String(); e.Result() != want || after != want {
			t.Errorf("Result in %s = %q, and the edited file has %q, want %q", tt.text, e.Result(), after, want)
		}
	}
}
