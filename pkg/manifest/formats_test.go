// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// added matches what is added by pinning: ‹text›, where D stands for the digest.
var added = regexp.MustCompile(`(?s)‹(.*?)›`)

// pinnedForm returns a file before and after pinning.
func pinnedForm(text string) (before, after string) {
	text = strings.NewReplacer("«", "", "»", "‹@D›").Replace(text)
	return added.ReplaceAllString(text, ""), added.ReplaceAllStringFunc(text, func(s string) string {
		return strings.ReplaceAll(strings.Trim(s, "‹›"), "D", pinned.String())
	})
}

// left returns the images that a file names and that can't be pinned.
func left(f *manifest.File) []string {
	var list []string
	for _, l := range f.Left {
		why := l.Why
		if l.Kind.Kind != "" {
			why += "; " + l.Advice(f.Unknown[l.Kind])
		}
		list = append(list, fmt.Sprintf("%d:%d %s: %s", l.Line, l.Column, l.Text, why))
	}
	return list
}

// TestLeftReference checks which images are references without a digest for certain.
func TestLeftReference(t *testing.T) {
	for _, tt := range []struct {
		file, text string
		want       bool
	}{
		{"kustomization.yaml", "images: [{name: a, newTag: 1.10}]\n", true},
		{"kustomization.yaml", "images: [{name: a, newTag: [1]}]\n", false},
		{"kustomization.yaml", "images: [{name: a, newTag: 1.10, digest: '" + pinned.String() + "'}]\n", false},
		{"kustomization.yaml", "images: [{name: a, tagSuffix: -x}]\n", true},
		{"values.yaml", "image: {repository: a/b, tag: 1.10}\n", true},
		{"values.yaml", "image: {repository: '{{ b }}', tag: 1.10}\n", false},
		{"values.yaml", "image: {repository: a/b}\n", false},
		{"compose.yaml", "services: {a: {image: 'a:1', build: .}}\n", false},
		{"Dockerfile", `{"syntax": "a"}`, true},
		{"Dockerfile", "FROM alpi\\\nne:3.19\n", true},
		{"Dockerfile", "FROM alpi\"ne:3.19\"\n", true},
		{"Dockerfile", "FROM alpine:$TAG\n", false},
		{"p.yaml", "[{op: replace, path: /spec/image, value: 'a:1'}]\n", true},
	} {
		f := parse(t, tt.file, tt.text)
		if len(f.Left) != 1 || f.Left[0].Reference != tt.want {
			t.Errorf("Left of %s %q = %+v, want one with Reference %t", tt.file, tt.text, f.Left, tt.want)
		}
	}
}

// These are the ends of messages about images that are left.
const (
	inText   = ": it is in a text, which tagpin does not change; write its digest there"
	inPatch  = ": it is in a patch; write its digest there"
	besideIt = " beside it may be a part of the image; write its digest in these values"
	sameTag  = " beside it may be an image with the same tag, and a digest after that would be for " +
		"both; pin the output of helm template instead"
	noTag = ": its tag is not set here, so the chart chooses it; set the tag and the digest in " +
		"these values"
	frontend = ": it is the frontend of a file in another language than that of Dockerfiles; write " +
		"its digest there"
	inParts     = ": a part of it is quoted or escaped; write it without that"
	instead     = "; write the image with its digest instead"
	toTemplates = " to `templates` in the config file that --config names"
	newRegistry = ": global.imageRegistry changes its registry; write its digest in these values"
)

const kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"

func TestFormats(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		references       string // separated by spaces
		left             []string
	}{
		{
			name: "Kustomization", file: "kustomization.yaml", text: "images:\n" +
				"- name: nginx\n  newTag: \"1.25\" # why‹\n  digest: D›\n" +
				"- newTag: v1‹\n  digest: D›\n  newName: ghcr.io/a/b\n  name: b\n" +
				"- {name: c, newTag: v2‹, digest: D›}\n" +
				"- name: d\n  newName: e\n" +
				"- name: f\n  newTag: v3\n  digest: '‹D›'\n" +
				"- name: g\n  newTag: v4\n  digest:‹ D›\n" +
				"- name: h\n  newTag: 8‹\n  digest: D›",
			references: "nginx:1.25 ghcr.io/a/b:v1 c:v2 f:v3 g:v4 h:8",
		},
		{
			name: "Kustomization with keys in another case", file: "kustomization.yaml",
			text: "Kind: Kustomization\nAPIVERSION: kustomize.config.k8s.io/v1beta1\nImages:\n" +
				"- name: a\n  newtag: '1'‹\n  digest: D›\n- {NAME: b, Newname: c, NEWTAG: '2', Digest: '‹D›'}\n" +
				"- {name: d, tagsuffix: -x}\nPatches: [{Patch: 'image: e'}]\nPatchesStrategicMerge: ['image: f']\n" +
				"Transformers: ['kind: ImageTagTransformer']\n" +
				"Replacements: [{Targets: [{fieldpaths: [spec.image]}]}]\n" +
				"HelmCharts: [{ValuesInline: {image: {repository: g, tag: '1‹@D›', Tag: '2'}}}]\n",
			references: "a:1 c:2 g:1",
			left: []string{
				"7:24 d: tagSuffix removes the digest that it has in a manifest; use newTag and digest",
				"8:19 an image in a patch" + inText,
				"9:25 an image in a patch" + inText,
				"10:16 an image in a transformer" + inText,
				"11:41 an image at spec.image: kustomize replaces it by another field; write its digest there",
			},
		},
		{
			name: "Kustomization with a long s and many keys", file: "Kustomization",
			text: "image\u017f: [{name: a, newTag: '1'‹, digest: D›, a1: , a2: , a3: , a4: , a5: , a6: , a7: , " +
				"a8: , a9: , a10: , a11: , a12: , a13: , a14: , a15: , a16: , a17: }]\n",
			references: "a:1",
		},
		{
			name: "Kustomization with imageTags", file: "kustomization.yml",
			text: "imageTags:\n- {name: a, newTag: '1'‹, digest: D›}\nimages:\n" +
				"- {name: b, newTag: '2'‹, digest: D›}\n",
			references: "b:2 a:1",
		},
		{
			name: "transformers of kustomize with keys in another case", file: "t.yaml",
			text: "apiVersion: builtin\nkind: ImageTagTransformer\nImageTag: {name: a, newtag: '1'‹, digest: D›}\n" +
				"---\napiVersion: builtin\nkind: PatchTransformer\nPatch: 'image: a'\n---\n" +
				"apiVersion: builtin\nkind: HelmChartInflationGenerator\nvaluesinline: {image: '«b:1»'}\n",
			references: "a:1 b:1",
			left:       []string{"7:8 an image in a patch" + inText},
		},
		{
			name: "Kustomization of Flux with keys in another case", file: "k.yaml",
			text: "kind: Kustomization\napiVersion: kustomize.toolkit.fluxcd.io/v1\n" +
				"spec: {Images: [{name: a, newTag: b}]}\n",
		},
		{
			name: "Kustomization with carriage returns", file: "k.yaml",
			text:       strings.ReplaceAll(kustomization+"images:\n  - name: a\n    newTag: b‹\n    digest: D›\n", "\n", "\r\n"),
			references: "a:b",
		},
		{
			name: "Kustomization with a number", file: "k.yaml",
			text: kustomization + "images:\n- name: a\n  newTag: 1.10\n",
			left: []string{"5:11 a:1.10: its tag is not a text; write it in quotes"},
		},
		{
			name: "Kustomization with suffixes of tags", file: "kustomization.yaml",
			text: "images:\n- name: a\n  tagSuffix: -x\n- {name: b, tagSuffix: ''}\n" +
				"- {name: d, tagSuffix: null}\n- {name: e, tagSuffix: ~}\n" +
				"- {name: c, newTag: '1'‹, digest: D›, tagSuffix: -y}\n",
			references: "c:1",
			left: []string{"3:14 a: tagSuffix removes the digest that it has in a manifest; use newTag and " +
				"digest"},
		},
		{
			name: "transformers of kustomize", file: "t.yaml",
			text: "apiVersion: builtin\nkind: ImageTagTransformer\nimageTag:\n  name: a\n" +
				"  newTag: '1'‹\n  digest: D›\n" +
				"---\napiVersion: builtin\nkind: ImageTagTransformer\nimageTag: {name: b, tagSuffix: -x}\n" +
				"---\napiVersion: builtin\nkind: PatchJson6902Transformer\n" +
				"jsonOp: '[{op: add, path: /spec/image, value: a}]'\n",
			references: "a:1",
			left: []string{
				"9:32 b: tagSuffix removes the digest that it has in a manifest; use newTag and digest",
				"13:9 an image in a patch" + inText,
			},
		},
		{
			name: "Kustomization with the digest in the tag", file: "k.yaml",
			text:       kustomization + "images:\n- name: a\n  newTag: b@" + pinned.String() + "\n",
			references: "a:b@" + pinned.String(),
		},
		{
			name: "Kustomization of Flux", file: "k.yaml", text: "kind: Kustomization\n" +
				"apiVersion: kustomize.toolkit.fluxcd.io/v1\nspec:\n  images:\n" +
				"  - name: a\n    newTag: b‹\n    digest: D›\n",
			references: "a:b",
		},
		{
			name: "values", file: "chart/values-prod.yaml", text: "image:\n  repository: nginx\n" +
				"  tag: 1.25‹@D›\nsidecar:\n  proxyImage: {registry: quay.io, repository: a/b, tag: \"v1\", " +
				"digest: \"‹D›\"}\n  image: «ghcr.io/c/d:v2»\nother:\n- image: &x '«e:1»'\n- image: *x\n" +
				"text: nginx:1\nname: {repository: x, version: y}\n",
			references: "nginx:1.25 quay.io/a/b:v1 ghcr.io/c/d:v2 e:1 e:1",
		},
		{
			name: "Kustomization with charts and patches", file: "kustomization.yaml",
			text: "helmCharts:\n- name: c\n  valuesInline:\n    image: «a:1»\n" +
				"patches:\n- patch: |-\n    - op: replace\n      value: {image: b:2}\n" +
				"- patch: |\n    spec: {replicas: 2}\n- path: p.yaml\n" +
				"- patch: |- # tagpin:ignore\n    image: c\n" +
				"- patch: |-\n    - {op: replace, path: /spec/image, value: d}\n" +
				"- patch: |-\n    - {op: replace, path: /spec/image/tag, value: d}\n",
			references: "a:1",
			left: []string{
				"6:10 an image in a patch" + inText,
				"15:5 an image in a patch" + inText,
			},
		},
		{
			name: "Application of Argo CD with other sources of images", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  source:\n" +
				"    kustomize: {images: ['a=b:1']}\n    helm:\n" +
				"      parameters: [{name: image.tag, value: v1}, {name: replicas, value: '2'}]\n" +
				"      values: |\n        image: c:2\n",
			left: []string{
				"9:9 an image in helm.values: it is in a text, which tagpin does not change; use " +
					"helm.valuesObject",
				"7:45 image.tag=v1: it is a parameter of Helm; use helm.valuesObject",
				"5:26 b:1: it is an image of kustomize in an Application; write its digest there, or pin " +
					"it in the Kustomization",
			},
		},
		{
			name: "Application of Argo CD with patches", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  source:\n" +
				"    kustomize: {patches: [{target: {kind: A}, patch: 'image: a'}, {patch: 'b: c'}]}\n" +
				"  sources:\n  - kustomize: {patches: [{patch: 'image: b'}]}\n",
			left: []string{
				"5:54 an image in a patch" + inText, "7:35 an image in a patch" + inText,
			},
		},
		{
			name: "generators of an ApplicationSet", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nspec:\n  generators:\n" +
				"  - list: {template: {spec: {source: {helm: {valuesObject: {image: '«a:1»'}}}}}}\n" +
				"  - matrix:\n      generators:\n      - git: {template: {spec: {sources: [helm: " +
				"{valuesObject: {image: '«b:1»'}}]}}}\n      - merge: {generators: [{clusters: {template: " +
				"{spec: {source: {helm: {valuesObject: {image: '«c:1»'}}}}}}}]}\n",
			references: "a:1 b:1 c:1",
		},
		{
			name: "ApplicationSet of Argo CD", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nspec:\n  template:\n    spec:\n" +
				"      sources:\n      - helm: {valuesObject: {image: '«a:1»', b: {image: 'b:{{.tag}}'}}}\n",
			references: "a:1",
			left:       []string{"7:56 b:{{.tag}}: it depends on a variable" + instead},
		},
		{
			name: "a kind that is not known", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec:\n  template:\n    spec:\n" +
				"      containers:\n      - image: nginx:1\n      - image: x # tagpin:ignore\n",
			left: []string{"7:16 nginx:1: no pod template is known in the kind Rollout; add {group: " +
				"argoproj.io, kind: Rollout, paths: [spec.template]}" + toTemplates},
		},
		{
			name: "a kind that is not known, with an image as a volume", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec:\n  template:\n    spec:\n" +
				"      volumes:\n      - {name: a, image: {reference: a}}\n      - {name: b, emptyDir: {}}\n" +
				"      containers: {a: {image: b}}\n",
			left: []string{
				"7:38 a: no pod template is known in the kind Rollout; add {group: argoproj.io, kind: " +
					"Rollout, paths: [spec.template], images: [spec.template.spec.containers.a.image]}" +
					toTemplates,
				"9:31 b: it has no tag, and no image is known in the kind Rollout; if it is one, write its " +
					"digest, or add {group: argoproj.io, kind: Rollout, paths: [spec.template], images: " +
					"[spec.template.spec.containers.a.image]}" + toTemplates,
			},
		},
		{
			name: "a kind that is not known, with images outside of pod templates", file: "a.yaml",
			text: "apiVersion: example.com/v1\nkind: App\nmetadata: {annotations: {image: a:1}}\nspec:\n" +
				"  image: b:1\n  jobs:\n  - template: {spec: {initContainers: [{image: c}, {image: c:2}]}}\n" +
				"  containers: [{image: d}, {image: ' '}, {image: 'd@" + pinned.String() + "'}, {name: e}]\n" +
				"  machineImage: ubuntu\n  sideImage: {image: ghcr.io/e/f}\n  imageName: g:1\n  logo: h:1\n" +
				"status: {image: j:1}\n",
			left: func() (all []string) {
				for _, image := range []string{"5:10 b:1", "7:48 c", "7:60 c:2", "8:24 d", "10:22 ghcr.io/e/f", "11:14 g:1"} {
					all = append(all, image+": no pod template is known in the kind App; add {group: example.com, "+
						"kind: App, paths: [\"spec.jobs[*].template\"], images: [spec.image, "+
						"\"spec.containers[*].image\", spec.sideImage.image, spec.imageName]}"+toTemplates)
				}
				return all
			}(),
		},
		{
			name: "a custom kind with what are likely to be images", file: "a.yaml",
			text: "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: a, image: x}\nspec:\n" +
				"  steps: [{image: alpine}, {image: team/b}, {image: $(params.image)}]\n" +
				"  image: {repository: c/d, tag: '1'}\n  oImage: {repository: e, tag: '1@" + pinned.String() +
				"'}\n  nImage: {repository: f, digest: '" + pinned.String() + "'}\n  mImage: {repository: g, sha: 1}\n" +
				"  anImage: true\n  theImage: free text\n  anyImage: free $(text)\n  noImage: ''\n" +
				"  osImage: ubuntu\n  vm_imageName: ubuntu\n  logoImage: logo.png\n  image_: x\n" +
				"  url_image: https://a/b\n  image-: {tag: 1}\n  xImage: {tag: '1'}\n  yImage: [a]\n" +
				"  zImage: {repository: 'quay.io/a/b@" + pinned.String() + "'}\n",
			left: []string{
				"5:19 alpine: it has no tag, and no image is known in the kind Task; if it is one, write its " +
					"digest, or add {group: tekton.dev, kind: Task, images: " +
					"[\"spec.steps[*].image\"]}" + toTemplates,
				"5:36 team/b: it has no tag, and no image is known in the kind Task; if it is one, write its " +
					"digest, or add {group: tekton.dev, kind: Task, images: " +
					"[\"spec.steps[*].image\"]}" + toTemplates,
				"5:53 $(params.image): it depends on a variable" + instead,
				"6:23 c/d: it is probably the repository of an image, but no image is known in the kind " +
					"Task; write the digest of the image after its tag, as in 1.25@sha256:…, or in a field " +
					"digest beside it",
			},
		},
		{
			name: "a kind that is not known, with lists that are elsewhere too", file: "a.yaml",
			text: "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec:\n" +
				"  list: &l [&c {image: nginx}, {image: b:1}]\n  volume: &v {image: &i {reference: d}}\n" +
				"  image: *i\n  template: {spec: {containers: *l, volumes: [*v]}}\n" +
				"  other: {spec: {initContainers: [*c]}}\n",
			left: func() (all []string) {
				for _, image := range []string{"4:40 b:1", "4:24 nginx", "5:37 d"} {
					all = append(all, image+": no pod template is known in the kind Rollout; add {group: "+
						"argoproj.io, kind: Rollout, paths: [spec.template, spec.other], images: "+
						"[\"spec.list[*].image\"]}"+toTemplates)
				}
				return all
			}(),
		},
		{
			name: "JSON patch with a list that is elsewhere too", file: "p.yaml",
			text: "- {op: add, path: /spec/list, value: &l [{image: a}]}\n" +
				"- {op: add, path: /spec/containers, value: *l}\n" +
				"- {op: add, path: /spec/initContainers, value: *l}\n",
			left: []string{"1:50 a: it is in a patch; write its digest there"},
		},
		{
			name: "HelmRelease with lists that are elsewhere too", file: "r.yaml",
			text: "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec:\n  values:\n" +
				"    x: &x\n    - name: a\n      newTag: '1'‹\n      digest: D›\n    p: &p [{patch: {imageName: b:1}}]\n" +
				"  postRenderers:\n  - kustomize: {images: *x, patches: *p}\n",
			references: "a:1",
			left:       []string{"8:32 b:1: it is in a patch; write its digest there"},
		},
		{
			name: "JSON patch", file: "p.yaml",
			text: "- op: replace\n  path: /spec/template/spec/containers/0/image\n  value: nginx:1.25\n" +
				"- {op: test, path: /spec/containers/0/image, value: 'b:1'}\n" +
				"- {op: add, path: /spec/containers/-, value: {name: c, image: 'c:1'}}\n" +
				"- {op: replace, path: /spec/containers/0/image, value: 'd@" + pinned.String() + "'}\n" +
				"- {op: remove, path: /spec/replicas}\n",
			left: []string{"3:10 nginx:1.25" + inPatch, "5:63 c:1" + inPatch},
		},
		{
			name: "JSON patch of what is no image", file: "p.yaml",
			text: "- {op: replace, path: /data/image, value: logo.png}\n" +
				"- {op: replace, path: /spec/template/spec/image, value: ubuntu-2204}\n" +
				"- {op: add, path: /spec/template, value: {image: team/logo, other: {image: x}}}\n" +
				"- {op: test, path: /spec/containers/0, value: {name: c, image: 'c:1'}}\n" +
				"- {op: add, path: /spec/containers/0/env/-, value: {name: a, value: 'b:1'}}\n" +
				"- {op: add, path: /spec/volumes/-, value: {name: a, csi: {image: {reference: b}}}}\n",
		},
		{
			name: "JSON patch of other images", file: "p.yaml",
			text: "- {op: add, path: /spec/volumes/-, value: {name: m, image: {reference: 'a:1'}}}\n" +
				"- {op: replace, path: /spec/volumes/0/image/reference, value: b}\n" +
				"- {op: add, path: /spec/volumes, value: [{image: {reference: c}}]}\n" +
				"- {op: add, path: /spec, value: {initContainers: [{image: d}], sideImage: e:1}}\n" +
				"- {op: replace, path: /spec/ephemeralContainers/0/image, value: f}\n" +
				"- {op: replace, path: /spec/imageName, value: ghcr.io/g/h}\n",
			left: []string{
				"1:72 a:1" + inPatch, "2:63 b" + inPatch, "3:62 c" + inPatch,
				"4:59 d" + inPatch, "4:75 e:1" + inPatch, "5:65 f" + inPatch,
				"6:47 ghcr.io/g/h" + inPatch,
			},
		},
		{
			name: "JSON patch of the whole object", file: "p.yaml",
			text: "- op: replace\n  path: ''\n  value:\n    spec: {containers: [{name: a, image: b}]}\n",
			left: []string{"4:42 b" + inPatch},
		},
		{
			name: "JSON patch that takes images from elsewhere", file: "p.yaml",
			text: "- {op: add, path: /metadata/annotations/x, value: 'evil:1'}\n" +
				"- {op: copy, from: /metadata/annotations/x, path: /spec/containers/0/image}\n" +
				"- {op: move, from: /metadata/annotations/x, path: /spec/volumes/0/image/reference}\n" +
				"- {op: copy, from: /x, path: /spec/template/spec/initContainers/-}\n" +
				"- {op: move, from: /x, path: /spec/template/spec/initContainers}\n" +
				"- {op: move, from: /x, path: /spec/jobTemplate}\n- {op: copy, from: /x, path: ''}\n" +
				"- {op: copy, from: /x, path: /spec/sideImage}\n" +
				"- {op: copy, from: /x, path: /spec/replicas}\n" +
				"- {op: copy, from: /x, path: /metadata/labels/app}\n",
			left: func() (all []string) {
				for _, at := range []string{
					"2:51 an image at /spec/containers/0/image: a patch takes it from /metadata/annotations/x",
					"3:51 an image at /spec/volumes/0/image/reference: a patch takes it from " +
						"/metadata/annotations/x",
					"4:30 an image at /spec/template/spec/initContainers/-: a patch takes it from /x",
					"5:30 an image at /spec/template/spec/initContainers: a patch takes it from /x",
					"6:30 an image at /spec/jobTemplate: a patch takes it from /x",
					"7:30 an image at the root: a patch takes it from /x",
					"8:30 an image at /spec/sideImage: a patch takes it from /x",
				} {
					all = append(all, at+"; write it as a value, with its digest")
				}
				return all
			}(),
		},
		{
			name: "a core kind", file: "a.yaml",
			text: "apiVersion: v1\nkind: ConfigMap\ndata: {image: 'a:1'}\n",
		},
		{
			name: "a kind with a path that the config can't have", file: "a.yaml",
			text: "apiVersion: example.com/v1\nkind: App\nspec: {'a b': {image: 'a:1'}}\n",
			left: []string{"3:23 a:1: no image is known in the kind App; add the kind and the paths to its images" + toTemplates},
		},
		{
			name: "a KRM function", file: "a.yaml",
			text: "apiVersion: example.com/v1\nkind: Tshirt\nmetadata:\n  annotations:\n" +
				"    config.kubernetes.io/function: |\n      container:\n        image: example.com/a:1\n",
			left: []string{"5:36 an image of a KRM function" + inText},
		},
		{
			name: "values that are not certain", file: "values.yaml", text: "a: {image: nginx, tag: 1}\n" +
				"b: {image: nginx}\nc: {image: 'nginx:1', imageDigest: ''}\nd: {image: {repository: nginx, tag: ''}}\n" +
				"e: {image: {repository: nginx}}\nf: {image: {tag: v1}}\ng: {image: {repository: a, tag: [1]}}\n" +
				"h: {image: {repository: a, tag: 1, digest: {}}}\ni: {image: {repository: a, tag: 1, sha: 12}}\n",
			left: []string{
				"1:12 nginx: tag" + besideIt,
				"2:12 nginx" + noTag,
				"3:12 nginx:1: imageDigest" + besideIt,
				"4:25 nginx" + noTag,
				"5:25 nginx" + noTag,
				"7:33 a: its tag is not a text; write it in quotes",
				"8:44 a: its digest is not a text; write it as one",
				"9:41 a: its sha is not a digest; write its digest there",
			},
		},
		{
			name: "values with a digest that some charts call sha", file: "values.yaml",
			text: "a: {image: {repository: a, tag: '1', sha: " + pinned.Encoded() + "}}\n" +
				"b: {image: {repository: b, tag: '1', sha: '" + pinned.String() + "'}}\n" +
				"c: {image: {repository: c, tag: '1', sha: {a: b}}}\n",
			left: []string{"3:43 c: its sha is not a digest; write its digest there"},
		},
		{
			name: "values with other versions beside images", file: "values.yaml",
			text: "kubeVersion: '1'\nupdateStrategy: digest\nimage: «a:1»\n" +
				"b: {image: '«b:tag»', appVersion: '2', sidecarTag: '3'}\n" +
				"c: {proxyImage: c, proxyTag: '2', logImage: '«d:1»'}\nd: {image: '«e:1»', version: 2}\n",
			references: "a:1 b:tag d:1 e:1",
			left:       []string{"5:17 c: proxyTag" + besideIt},
		},
		{
			name: "values with registries beside images", file: "values.yaml",
			text: "node: {registry: quay.io, image: 'team/app:1.2'}\n" +
				"a: {imageRegistry: quay.io, image: {repository: b, tag: '1'}}\n" +
				"c: {proxyRegistry: quay.io, image: '«d:1»', proxyImage: 'e:1'}\n" +
				"f: {registry: quay.io, image: '«quay.io/g:1»'}\nh: {registry: '', image: '«i:1»'}\n" +
				"j: {registry: quay.io, image: {registry: ghcr.io, repository: k, tag: '1‹@D›'}}\n" +
				"l: {registry: '', imageRegistry: quay.io, image: 'm:1'}\n" +
				"n: {registry: quay.io, proxyImage: 'o:1'}\n",
			references: "d:1 quay.io/g:1 i:1 ghcr.io/k:1",
			left: []string{
				"1:34 team/app:1.2: registry" + besideIt,
				"2:49 b: imageRegistry" + besideIt,
				"3:55 e:1: proxyRegistry" + besideIt,
				"7:50 m:1: imageRegistry" + besideIt,
				"8:36 o:1: registry" + besideIt,
			},
		},
		{
			name: "values with registries further up than beside images", file: "values.yaml",
			text: "global:\n  registry: {address: ghcr.io/x/y}\n  images:\n    kubeovn: {repository: " +
				"kube-ovn, vpcRepository: vpc-nat-gateway, tag: v1.15.4}\n" +
				"b:\n  imageRegistry: quay.io\n  images: {web: {repository: team/web, tag: v1}, " +
				"own: {registry: ghcr.io, repository: b, tag: '1‹@D›'}}\n" +
				"c: {image: {registry: quay.io, team: {web: {repository: team/c, tag: v1}}}}\n" +
				"d: {registry: quay.io, images: [{repository: quay.io/team/d, tag: 'v1‹@D›'}, " +
				"{repository: team/d, tag: v1}]}\n" +
				"e: {proxyRegistry: quay.io, proxyImages: {web: {repository: e, tag: v1}}, " +
				"images: {web: {repository: f, tag: '1‹@D›'}}}\n" +
				"g: {registry: quay.io, images: {a: {image: 'team/g:1', logImage: 'quay.io/g:$A'}}}\n" +
				"h: {registry: quay.io, images: {a: {image: 'team/h:1@" + pinned.String() + "'}}}\n" +
				"i: {registry: quay.io, other: {images: {web: {repository: i, tag: '1‹@D›'}}}}\n",
			references: "ghcr.io/b:1 quay.io/team/d:v1 f:1 i:1",
			left: []string{
				"4:27 kube-ovn: registry" + besideIt,
				"7:30 team/web: imageRegistry" + besideIt,
				"8:57 team/c: registry" + besideIt,
				"9:87 team/d: registry" + besideIt,
				"10:61 e: proxyRegistry" + besideIt,
				"11:44 team/g:1: registry" + besideIt,
				"11:66 quay.io/g:$A: it depends on a variable" + instead,
			},
		},
		{
			name: "values with an alias below a registry", file: "values.yaml",
			text: "a: {image: &i {web: {repository: quay.io/a, tag: '1‹@D›'}, log: {repository: b, tag: '1'}}}\n" +
				"c: {registry: quay.io, image: *i}\n",
			references: "quay.io/a:1 quay.io/a:1",
			left:       []string{"1:74 b: registry" + besideIt},
		},
		{
			name: "values with anchors for images", file: "values.yaml",
			text: "defaults: &img {repository: quay.io/a/b, tag: 'v1‹@D›'}\nweb: {image: *img}\n" +
				"other: &other {repository: quay.io/a/c, tag: v1}\n" +
				"c: {registry: r.example, image: *other}\n" +
				"pinned: &p {repository: f, tag: '1@" + pinned.String() + "'}\ng: {image: *p}\n" +
				"h: {image: &h {repository: h, tag: v1}}\ni: {registry: r.example, image: *h}\n",
			references: "quay.io/a/b:v1 f:1@" + pinned.String(),
			left: []string{
				"3:28 quay.io/a/c: registry" + besideIt,
				"7:28 h: registry" + besideIt,
			},
		},
		{
			name: "values with a tag of several repositories", file: "values.yaml",
			text: "images: {app: {repository: quay.io/t/app, initRepository: quay.io/t/init, tag: v1}}\n" +
				"a: {image: {repository: a, init-repository: [b], tag: '1', digest: ''}}\n" +
				"c: {image: {repository: c, initRepository: '', logRepository: ~, tag: '1‹@D›'}}\n" +
				"d: {image: {registry: quay.io, repository: d, PROXY_REPOSITORY: p, tag: '1@" +
				pinned.String() + "'}}\n" +
				"sidecar: {repository: e, initRepository: i, tag: '1'}\n",
			references: "c:1",
			left: []string{
				"1:28 quay.io/t/app: initRepository" + sameTag,
				"2:25 a: init-repository" + sameTag,
				"5:23 e:1: initRepository" + sameTag,
			},
		},
		{
			name: "values with registries that are no texts", file: "values.yaml",
			text: "a: {registry: {host: quay.io}, image: 'team/app:1.2'}\n" +
				"b: {imageRegistry: [quay.io], image: {repository: b, tag: '1'}}\n" +
				"c: {registry: {}, image: '«c:1»'}\nd: {registry: [], image: '«d:1»'}\n" +
				"e: {image: {registry: {host: quay.io}, repository: e, tag: '1'}}\n" +
				"f: {registry: 5000, image: 'f:1'}\n" +
				"g: {image: {registry: ~, repository: g, tag: '1‹@D›'}}\n",
			references: "c:1 d:1 g:1",
			left: []string{
				"1:39 team/app:1.2: registry" + besideIt,
				"2:51 b: imageRegistry" + besideIt,
				"5:52 e: its registry is not a text; write it as one",
				"6:28 f:1: registry" + besideIt,
			},
		},
		{
			name: "values with a registry for all that is no text", file: "values.yml",
			text: "global: {imageRegistry: {host: r.example}}\nimage: {repository: a, tag: b}\n",
			left: []string{"2:21 a" + newRegistry},
		},
		{
			name: "pinned values with other registries", file: "values.yaml",
			text: "a: {registry: r.example, image: 'a:1@" + pinned.String() + "'}\n" +
				"b: {imageRegistry: r.example, image: {repository: b, tag: '1@" + pinned.String() + "'}}\n" +
				"c: {image: {registry: {d: e}, repository: c, digest: '" + pinned.String() + "'}}\n" +
				"f: {registry: r.example, image: {repository: f, digest: 'sha256:0'}}\n",
			left: []string{"4:46 f: registry" + besideIt},
		},
		{
			name: "pinned values with a registry for all", file: "values.yaml",
			text: "global: {imageRegistry: r.example}\na: {image: 'a@" + pinned.String() + "'}\n" +
				"b: {image: {repository: b, tag: '1@" + pinned.String() + "'}}\n",
		},
		{
			name: "values with a registry for all", file: "values.yml",
			text: "global: {imageRegistry: r.example}\nimage: {repository: a, tag: b}\nx: {image: c:d}\n",
			left: []string{
				"2:21 a" + newRegistry,
				"3:12 c:d" + newRegistry,
			},
		},
		{
			name: "HelmRelease", file: "r.yaml", text: "apiVersion: helm.toolkit.fluxcd.io/v2\n" +
				"kind: HelmRelease\nspec:\n  values:\n    image: {repository: a, tag: b‹@D›}\n",
			references: "a:b",
		},
		{
			name: "Application", file: "a.yaml", text: "apiVersion: argoproj.io/v1alpha1\n" +
				"kind: Application\nspec:\n  sources:\n  - helm: {valuesObject: {image: «a:b»}}\n",
			references: "a:b",
		},
		{
			name: "items of a list", file: "list.yaml", text: "apiVersion: v1\nkind: List\nitems:\n" +
				"- apiVersion: helm.toolkit.fluxcd.io/v2\n  kind: HelmRelease\n" +
				"  spec: {values: &v {image: {repository: a, tag: '1‹@D›'}}}\n" +
				"- apiVersion: helm.toolkit.fluxcd.io/v2\n  kind: HelmRelease\n  spec: {values: *v}\n" +
				"- apiVersion: argoproj.io/v1alpha1\n  kind: Application\n" +
				"  spec: {source: {helm: {valuesObject: {image: '«b:1»'}}}}\n" +
				"- apiVersion: kustomize.toolkit.fluxcd.io/v1\n  kind: Kustomization\n" +
				"  spec: {images: [{name: c, newTag: '1'‹, digest: D›}]}\n" +
				"- apiVersion: kustomize.config.k8s.io/v1beta1\n  kind: Kustomization\n" +
				"  images: [{name: d, newTag: '1'‹, digest: D›}]\n",
			references: "a:1 b:1 c:1 d:1",
		},
		{
			name: "items of an object that is no list by its kind", file: "list.yaml",
			text: "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: '«a:1»'}]}\nitems:\n" +
				"- {apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: '«b:1»'}]}}\n---\n" +
				"apiVersion: example.com/v1\nkind: App\nspec: {image: 'c:1'}\nitems:\n" +
				"- {apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: '«d:1»'}]}}\n---\n" +
				"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nitems:\n" +
				"- spec: {values: {image: '«e:1»'}}\n",
			references: "a:1 b:1 d:1 e:1",
			left: []string{"9:15 c:1: no image is known in the kind App; add {group: example.com, kind: " +
				"App, images: [spec.image]}" + toTemplates},
		},
		{
			name: "items of a typed list", file: "list.yaml",
			text: "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmReleaseList\nitems:\n" +
				"- spec: {values: {image: '«a:1»'}}\n",
			references: "a:1",
		},
		{
			name: "compose", file: "compose.yaml", text: "services:\n  db:\n    image: «postgres:16»\n" +
				"  web:\n    build: .\n    image: example.com/web:1\n  never: {image: «x», pull_policy: never}\n" +
				"  v:\n    image: \"redis:${TAG:-7}\"\n",
			references: "postgres:16 x",
			left: []string{
				"6:12 example.com/web:1: Compose tries to pull it before it builds it; set pull_policy to " +
					"build or never",
				"9:12 redis:${TAG:-7}: it depends on a variable" + instead,
			},
		},
		{
			name: "values that look like an object", file: "values.yaml",
			text:       "apiVersion: v1\nkind: ConfigMap\nimage: {repository: a, tag: «1»}\n",
			references: "a:1",
		},
		{
			name: "values that look like a compose file", file: "values.yaml", text: "services: " +
				"{a: {image: «a:1»}}\nbImage: «b:1»\n",
			references: "a:1 b:1",
		},
		{
			name: "object in a file of values", file: "values.yaml", text: pod +
				"spec: {containers: [{name: a, image: «a:1»}]}\n",
			references: "a:1",
		},
		{
			name: "values with white space", file: "values.yaml", text: "aImage: 'a:1 '\n" +
				"bImage: |\n  b:1\ncImage: ' '\n",
			left: []string{
				"1:9 a:1: it has white space before or after it; remove that",
				"3:3 b:1: it has white space before or after it; remove that",
			},
		},
		{
			name: "JSON patch with paths that kustomize takes", file: "p.yaml", text: "- {op: replace, path: " +
				"x/spec/template/spec/containers/0/image, value: a}\n- {op: test, path: x/kind, value: b}\n" +
				"- {op: add, path: /spec/template/spec/containers/-1/image, value: c}\n" +
				"- {op: replace, path: /spec/template/spec/containers/+0, value: {image: d}}\n",
			left: []string{
				"1:71 a: it is in a patch; write its digest there",
				"3:67 c: it is in a patch; write its digest there",
				"4:73 d: it is in a patch; write its digest there",
			},
		},
		{
			name: "Kustomization with transformers", file: "kustomization.yaml", text: "transformers:\n" +
				"- t.yaml\n- '{apiVersion: builtin, kind: ImageTagTransformer, imageTag: {name: a, newTag: b}}'\n" +
				"replacements:\n- targets:\n  - fieldPaths: [spec.template.spec.containers.0.image, " +
				"spec.replicas]\n",
			left: []string{
				"3:3 an image in a transformer: it is in a text, which tagpin does not change; " +
					"write its digest there",
				"6:18 an image at spec.template.spec.containers.0.image: kustomize replaces it by another " +
					"field; write its digest there",
			},
		},
		{
			name: "compose with services that are built", file: "compose.yaml", text: "services:\n" +
				"  a: {build: ., image: 'a:1', pull_policy: build}\n" +
				"  b: {build: ., image: 'b:1', pull_policy: never}\n" +
				"  c: {build: ., image: 'c:1', pull_policy: missing}\n" +
				"  d: {build: {context: .}, image: 'd:$TAG'}\n  e: {build: ., image: ''}\n  f: {build: .}\n" +
				"  g: {build: ., image: 'g:1'} # tagpin:ignore\n" +
				"  h: {build: ., image: 'h@" + pinned.String() + "'}\n",
			left: []string{
				"4:24 c:1: Compose tries to pull it before it builds it; set pull_policy to build or never",
				"5:35 d:$TAG: Compose tries to pull it before it builds it; set pull_policy to build or never",
			},
		},
		{
			name: "compose with other images", file: "compose.yaml", text: "services:\n  a:\n" +
				"    volumes:\n    - {type: image, source: '«a:1»', target: /a}\n    - b:/b\n" +
				"    - {type: volume, source: c, target: /c}\n    build:\n      context: .\n" +
				"      additional_contexts: {d: docker-image://«d:1», e: ../e}\n" +
				"      dockerfile_inline: |\n        from f\n" +
				"  g: {build: {additional_contexts: [g=docker-image://«g:1», 'h=docker-image://$H']}}\n" +
				"  i: {build: {dockerfile_inline: 'RUN from i'}}\n",
			references: "a:1 d:1 g:1",
			left: []string{
				"11:9 an image in dockerfile_inline" + inText,
				"12:59 $H: it depends on a variable" + instead,
			},
		},
		{
			name: "compose with fields for anchors", file: "compose.yaml",
			text: "x-image: &i «app:1»\nx-service: &s {image: '«b:1»'}\n" +
				"services: {a: {image: *i}, b: *s, c: {<<: *s}}\n",
			references: "app:1 b:1 b:1",
		},
		{
			name: "compose with what other files remove", file: "compose.override.yaml",
			text: "services:\n  a: !reset null\n  b:\n    build: !reset null\n    image: «b:1»\n" +
				"  c: {image: !reset null}\n  d: {build: null, image: '«d:1»'}\n",
			references: "b:1 d:1",
		},
		{
			name: "values with an empty name of the digest", file: "values.yaml",
			text:       "image: {repository: a, tag: '1‹@D›', sha: null}\nb: {image: {repository: b, tag: '1‹@D›', sha: ~}}\n",
			references: "a:1 b:1",
		},
		{
			name: "values with services", file: "values.yaml",
			text:       "services: {web: {image: {repository: app, tag: '1‹@D›'}}}\n",
			references: "app:1",
		},
		{
			name: "values with services whose images are texts", file: "values-prod.yaml",
			text:       "services: {web: {build: x, image: '«app:1»'}}\n",
			references: "app:1",
		},
		{
			name: "workflow", file: ".github/workflows/ci.yml", text: "on: push\njobs:\n  a:\n" +
				"    container: «golang:1.22»\n    services:\n      db: {image: «postgres:16»}\n    steps:\n" +
				"    - uses: actions/checkout@v4\n    - uses: docker://«alpine:3»\n    - run: echo\n" +
				"  b: {container: {image: '«node:20»'}}\n  c: {container: '${{ matrix.image }}'}\n",
			references: "golang:1.22 postgres:16 alpine:3 node:20",
			left:       []string{"12:18 ${{ matrix.image }}: it depends on a variable" + instead},
		},
		{
			name: "workflow with docker:// before images", file: "ci.yml", text: "on: push\njobs:\n" +
				"  a: {container: 'docker://«a:1»', services: {x: {image: 'docker://«b:1»'}, y: {image: " +
				"docker://}}}\n  c: {container: {image: 'docker://«c:1»'}}\n",
			references: "a:1 b:1 c:1",
		},
		{
			name: "workflow with services that are texts", file: "ci.yml", text: "on: push\njobs:\n" +
				"  a: {services: {x: '«a:1»', y: 'docker://«b:1»', z: ''}}\n",
			references: "a:1 b:1",
		},
		{
			name: "action with docker:// in upper case", file: "action.yml", text: "runs:\n" +
				"  using: docker\n  image: DOCKER://«alpine:3.19»\n---\nruns:\n  using: composite\n" +
				"  steps: [{uses: 'Docker://«a:1»'}, {uses: docker}, {uses: DOCKER/x@v1}]\n",
			references: "alpine:3.19 a:1",
		},
		{
			name: "action that looks like an object", file: "action.yml", text: "apiVersion: v1\nkind: A\n" +
				"runs: {using: docker, image: 'docker://«alpine:3.19»'}\n---\napiVersion: a.example/v1\n" +
				"kind: A\nruns: {using: composite, steps: [{uses: 'docker://«a:1»'}]}\n",
			references: "alpine:3.19 a:1",
		},
		{
			name: "action that looks like a workflow and a compose file", file: "action.yml",
			text: "on: x\njobs: {a: {container: '«b:1»'}}\nservices: {a: {image: '«c:1»'}}\n" +
				"runs: {using: composite, steps: [{uses: 'docker://«a:1»'}]}\n",
			references: "b:1 a:1 c:1",
		},
		{
			name: "workflow that looks like an object", file: "ci.yml", text: "apiVersion: a.example/v1\n" +
				"kind: A\non: push\njobs: {a: {container: {image: '«alpine»'}, services: {b: {image: 'b:$V'}}}}\n",
			references: "alpine",
			left:       []string{"4:64 b:$V: it depends on a variable" + instead},
		},
		{
			name: "compose file that looks like an object", file: "compose.yaml",
			text: "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: " +
				"[{name: a, image: '«a:1»'}]}}}\nservices: {b: {image: '«b:1»'}}\n",
			references: "a:1 b:1",
		},
		{
			name: "action", file: "action.yml",
			text:       "name: a\nruns:\n  using: docker\n  image: \"docker://«alpine:3»\"\n",
			references: "alpine:3",
		},
		{name: "action with a Dockerfile", file: "action.yml", text: "runs: {using: docker, image: Dockerfile}\n"},
		{
			name: "ignored", file: "compose.yaml", text: "services:\n  a: {image: a} # tagpin:ignore\n" +
				"  b:\n    # tagpin:ignore, because\n    image: b\n  c:\n    # tagpin:ignore because\n" +
				"    image: c\n  d: {image: '«d»'} #tagpin:ignored\n",
			references: "d",
		},
		{
			name: "JSON", file: "values.json",
			text:       `{"image": {"repository": "a", "tag": ‹"›8‹@D"›}, "x": {"image": {"repository": "b", "tag": "c‹@D›"}}}`,
			references: "a:8 b:c",
		},
		{name: "template", file: "values.yaml", text: "image: {repository: '{{ x }}', tag: a}\n", left: []string{
			"1:37 {{ x }}:a: it depends on a variable" + instead,
		}},
		{name: "not values", file: "other.yaml", text: "image: {repository: a, tag: b}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, tt.file, tt.text, tt.references, tt.left)
		})
	}
}

// check pins a file and compares the result.
func check(t *testing.T, file, text, references string, wantLeft []string) {
	t.Helper()
	before, after := pinnedForm(text)
	f := parse(t, file, before)
	var got []string
	for _, o := range f.Objects {
		for _, r := range o.PodSpecs[0].References {
			got = append(got, r.Text)
		}
	}
	if list := strings.Join(got, " "); list != references {
		t.Errorf("references %s, want %s", list, references)
	}
	if diff := cmp.Diff(wantLeft, left(f)); diff != "" {
		t.Errorf("Left: -want +got\n%s", diff)
	}
	data, err := f.Edit(edits(f))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(after, string(data)); diff != "" {
		t.Errorf("Edit: -want +got\n%s", diff)
	}
}

func TestDockerfile(t *testing.T) {
	for _, tt := range []struct {
		name, text, references string
		left                   []string
	}{
		{
			name: "stages", text: "# syntax=docker/dockerfile:1‹@D›\n" +
				"FROM --platform=$BUILDPLATFORM «golang:1.22» AS Build\nRUN go build\n" +
				"FROM build AS test\nFROM scratch\n" +
				"COPY --from=build /a /a\nCOPY --from=0 /a /a\nCOPY --chown=1:1 --from=«nginx:1» /b /b\n" +
				"copy --from=src . .\n" +
				"RUN --mount=type=bind,from=«alpine:3»,target=/x --mount=type=cache,target=/y true\n",
			references: "docker/dockerfile:1 golang:1.22 nginx:1 alpine:3",
			left: []string{
				"9:1 src: it may be a named context of the build; write a tag if it is an image",
			},
		},
		{
			name: "lines", text: "FROM --platform=linux/amd64 \\\n  # from golang:1\n\n  «golang:1» \\\n" +
				"  AS golang\nRUN <<EOF\nFROM x\nEOF\n",
			references: "golang:1",
		},
		{
			name:       "escape",
			text:       "# escape=`\n\nFROM `\r\n  «mcr.microsoft.com/windows:1» `\r\n  AS x\r\n",
			references: "mcr.microsoft.com/windows:1",
		},
		{
			name: "variables", text: "ARG V=1\nFROM golang:${V}\nFROM $BASE as b\nFROM go\\\nlang\n",
			left: []string{
				"2:1 golang:${V}: it depends on a variable" + instead, "3:1 $BASE: it depends on a variable" + instead,
				"4:1 golang: its text is not on one line; write it on one",
			},
		},
		{
			name: "quotes", text: "FROM \"«alpine:3.19»\" AS base\nFROM 'base'\nFROM \"scratch\"\n" +
				"COPY --from=\"«alpine:3.20»\" /a /a\nCOPY --from='base' /a /a\n" +
				"RUN --mount=type=bind,\"from=«alpine:3.21»\",target=/x true\n" +
				"RUN --mount=type=bind,\\\"from=«alpine:3.22»\\\",target=/x true\n" +
				"RUN --mount=from=«b:1»,source=/ä true\n" +
				"FROM alp\"ine:3.1\"\nFROM alp\\ine:3.2\n" +
				"COPY --from=\"alp\"ine:3.3 /a /a\nRUN --mount=\"from=c:1,source=c:1\" true\n" +
				"RUN --mount=\"from=d:1, source=x\" true\n",
			references: "alpine:3.19 alpine:3.20 alpine:3.21 alpine:3.22 b:1",
			left: []string{
				"9:1 alpine:3.1" + inParts, "10:1 alpine:3.2" + inParts, "11:1 alpine:3.3" + inParts,
				"12:1 c:1" + inParts, "13:1 d:1: its flag has white space; write it without",
			},
		},
		{
			name: "triggers", text: "FROM scratch\nONBUILD COPY --from=«nginx:1» / /\n" +
				"onbuild \\\n  run --mount=type=bind,FROM=«alpine:3» true\nONBUILD RUN go build\n" +
				"ONBUILD\nRUN --mount=From=«b:2» x\n",
			references: "nginx:1 alpine:3 b:2",
		},
		{
			name: "triggers with names of stages", text: "FROM scratch AS busybox\n" +
				"ONBUILD COPY --from=busybox /bin/sh /sh\nONBUILD RUN --mount=from=busybox true\n" +
				"ONBUILD COPY --from=0 / /\nCOPY --from=busybox / /\n",
			left: []string{
				"2:1 busybox: it may be a stage or a named context of a build that uses this image; write " +
					"a tag if it is an image",
				"3:1 busybox: it may be a stage or a named context of a build that uses this image; write " +
					"a tag if it is an image",
			},
		},
		{
			name: "a number in a mount", text: "FROM scratch\nRUN --mount=from=0 true\n",
			left: []string{"2:1 0: it may be a named context of the build; write a tag if it is an image"},
		},
		{name: "ignored", text: "# tagpin:ignore\nFROM a\nFROM «b»\n", references: "b"},
		{name: "byte order mark", text: "\uFEFFFROM «a»\n", references: "a"},
		{
			name: "a directive in JSON", text: "{\n\"syntax\": \"docker/dockerfile:1\"}\n",
			left: []string{"1:1 docker/dockerfile:1" + frontend},
		},
		{
			name: "a directive in JSON after a shebang", text: "#!/a docker/x:1\n{\"syntax\": \"docker/x:1\"}\n",
			left: []string{"1:1 docker/x:1" + frontend},
		},
		{
			name: "a directive after slashes", text: "// syntax=a/b:1\npackage c\n",
			left: []string{"1:1 a/b:1" + frontend},
		},
		{
			name: "a directive in JSON with a digest",
			text: "{\"syntax\": \"docker/dockerfile@" + pinned.String() + "\"}\n",
		},
		{name: "twice", text: "FROM «a:1»\nCOPY --from=«a:1» / /\n", references: "a:1 a:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, "app/Dockerfile", tt.text, tt.references, tt.left)
		})
	}
}

func TestRecognized(t *testing.T) {
	for _, tt := range []struct {
		file, text            string
		recognized, manifests bool
	}{
		{"f.yaml", "", false, false},
		{"f.yaml", "a: b\n", false, false},
		{"f.yaml", "kind: ConfigMap\napiVersion: v1\n", true, true},
		{"f.yaml", "kind: ConfigMap\napiVersion: v1\n---\nservices: {a: {image: b}}\n", true, false},
		{"f.yaml", kustomization, true, false},
		{"values.yaml", "a: b\n", true, false},
		{"p.yaml", "[{op: remove, path: /a}]\n", true, false},
		{"p.yaml", "[{op: remove, path: /a}, {path: /b}]\n", true, false},
		{"p.yaml", "[]\n", false, false},
		{"f.yaml", "services: {a: {image: {repository: b}}}\n", false, false},
		{"values.yaml", "- a\n", false, false},
		{"kustomization.yaml", "resources: []\n", true, false},
		{"kustomization.yaml", "kind: Other\napiVersion: a/v1\n", true, true},
		{"Dockerfile", "FROM a\n", true, false},
		{"dev.Containerfile", "FROM a\n", true, false},
		{"dockerfile", "FROM a\n", true, false},
		{"build/dev.dockerfile", "FROM a\n", true, false},
		{"Dockerfile.dev", "FROM a\n", true, false},
		{"dockerfile-dev", "FROM a\n", true, false},
		{"Dockerfile.go", "FROM a\n", true, false},
		{"dockerfile.go", "package a\n", false, false},
		{"Dockerfile_test.go", "package a\n", false, false},
		{"Dockerfile.md", "a\n", false, false},
		{"dockerfile.yaml", "a: b\n", false, false},
		{"Dockerfile.dockerignore", "a\n", false, false},
	} {
		f := parse(t, tt.file, tt.text)
		if got := f.Recognized(); got != tt.recognized {
			t.Errorf("Recognized of %s %q = %t, want %t", tt.file, tt.text, got, tt.recognized)
		}
		if got := f.Manifests(); got != tt.manifests {
			t.Errorf("Manifests of %s %q = %t, want %t", tt.file, tt.text, got, tt.manifests)
		}
	}
}

// TestIgnored checks the comment in a Kubernetes object.
func TestIgnored(t *testing.T) {
	check(t, "f.yaml", pod+"spec:\n  containers:\n  - {name: a, image: '«a»'}\n"+
		"  - name: b\n    image: b # tagpin:ignore\n  initContainers:\n  # tagpin:ignore\n"+
		"  - {name: c, image: c}\n", "a", nil)
	check(t, "f.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {annotations: {a: &i b:1}}\nspec:\n  containers:\n"+
		"  - {name: a, image: '«a»'}\n  - name: b\n    image: *i # tagpin:ignore\n", "a", nil)
	check(t, "values.yaml", "a:\n  image:\n    repository: &r app # tagpin:ignore\n    tag: '1'\n"+
		"b:\n  image:\n    repository: *r\n    tag: '2‹@D›'\n", "app:2", nil)
	f := parse(t, "f.yaml", pod+"spec:\n  containers:\n  - name: a\n    image: &i app:1 # tagpin:ignore\n"+
		"  - {name: b, image: *i}\n")
	if got := f.Objects[0].PodSpecs[0].References; f.Ignored != 1 || len(got) != 1 || got[0].Name != "b" {
		t.Errorf("references %v and %d ignored, want that of b and one ignored", got, f.Ignored)
	}
	f = parse(t, "f.yaml", pod+"spec: {containers: [{name: a, image: b}]} # tagpin:ignore\n")
	if f.Ignored != 1 || len(f.Objects) != 1 {
		t.Errorf("Ignored = %d in %d objects, want 1 in 1", f.Ignored, len(f.Objects))
	}
}

// TestIgnoredAliases checks that the comment at an anchor is not for its aliases, nor the other way
// round. A mapping that an alias repeats has its images on one line, so they are ignored together.
func TestIgnoredAliases(t *testing.T) {
	const application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\n"
	const custom = "apiVersion: example.com/v1\nkind: App\n"
	for _, tt := range []struct {
		text    string
		left    []string // their lines and columns, which are those of the anchors
		ignored int
	}{
		{application + "spec:\n  source:\n    kustomize:\n      images:\n" +
			"      - &i a:1 # tagpin:ignore\n      - *i\n", []string{"7:12"}, 1},
		{application + "spec:\n  source:\n    kustomize:\n      images:\n" +
			"      - &i a:1\n      - *i # tagpin:ignore\n", []string{"7:12"}, 1},
		{application + "spec:\n  source:\n    kustomize:\n      images:\n" +
			"      # tagpin:ignore\n      - &i a:1\n      # tagpin:ignore\n      - *i\n", nil, 2},
		{custom + "spec:\n  image: &i a:1 # tagpin:ignore\n  sideImage: *i\n", []string{"4:13"}, 1},
		{custom + "spec:\n  image: &i a:1\n  sideImage: *i # tagpin:ignore\n", []string{"4:13"}, 1},
		{custom + "spec:\n  image: &i a:1\n  sideImage:\n    *i # tagpin:ignore\n", []string{"4:13"}, 1},
		{custom + "spec:\n  a: &i b:1 # tagpin:ignore\n  c: &c\n    image: *i\n" +
			"  d: {<<: *c}\n", []string{"4:9", "4:9"}, 0},
		{custom + "spec:\n  a: &i b:1\n  c: &c\n    image: *i # tagpin:ignore\n  d: {<<: *c}\n", nil, 2},
	} {
		f := parse(t, "f.yaml", tt.text)
		var got []string
		for _, l := range f.Left {
			got = append(got, fmt.Sprintf("%d:%d", l.Line, l.Column))
		}
		if diff := cmp.Diff(tt.left, got); diff != "" || f.Ignored != tt.ignored {
			t.Errorf("%s: Ignored = %d, want %d; left -want +got\n%s", tt.text, f.Ignored, tt.ignored, diff)
		}
	}
	f := parse(t, "f.yaml", pod+"spec:\n  initContainers:\n  - &c {name: a, image: b} # tagpin:ignore\n"+
		"  containers:\n  - *c\n")
	if got := len(edits(f)); f.Ignored != 2 || got != 0 {
		t.Errorf("a container with an alias: Ignored = %d, and %d references, want 2 and 0", f.Ignored, got)
	}
}

// TestDuplicatesElsewhere checks that a duplicate key that is not on the way to a reference is no
// error.
func TestDuplicatesElsewhere(t *testing.T) {
	check(t, "f.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {labels: {a: b, a: c}}\nspec:\n"+
		"  containers:\n  - name: a\n    image: «nginx»\n    env: [{name: x, name: y}]\n"+
		"---\nkind: ConfigMap\napiVersion: v1\ndata: {a: b}\ndata: {a: c}\n", "nginx", nil)
}

// TestDuplicateBesideAnObject checks that a duplicate key is an error of the file if one of its
// documents is for a cluster, in any order.
func TestDuplicateBesideAnObject(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}\n"
	const twice = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
		"images: [{name: a, newTag: '1', newTag: '2'}]\n"
	for text, want := range map[string]bool{
		pod + "---\n" + twice: true, twice + "---\n" + pod: true, twice: false,
		"kind: ''\n" + pod: true,
	} {
		_, err := manifest.Parse("f.yaml", []byte(text), nil)
		if err == nil || errors.Is(err, manifest.ErrDuplicateKey) != want {
			t.Errorf("Parse(%q) = %v, ErrDuplicateKey: want %t", text, err, want)
		}
	}
}

// TestNestedAliases checks that values are visited once, even if aliases repeat them a thousand
// times.
func TestNestedAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("l0: &l0 {image: «nginx:1»}\n")
	for i := range 10 {
		fmt.Fprintf(&b, "l%d: &l%d [*l%d, *l%d]\n", i+1, i+1, i, i)
	}
	check(t, "values.yaml", b.String(), "nginx:1", nil)
}
