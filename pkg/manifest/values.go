// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/ref"
)

// valuesName matches the names of files that have values of a Helm chart: values.yaml,
// values-prod.yaml, prod.values.yml.
var valuesName = regexp.MustCompile(`(?i)^(.*[-_.])?values([-_.].*)?\.(ya?ml|json)$`)

// isValues reports whether a document has the values of a Helm chart. Only the name of its file
// tells.
func isValues(f *File, n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && valuesName.MatchString(filepath.Base(f.as))
}

// findReleaseValues finds the images of the values of a HelmRelease, and of what kustomize does
// with the result.
func findReleaseValues(w *walk, root cursor) {
	addReleaseChart(root.get("spec"))
	findValues(w, root.get("spec").get("values"))
	root.get("spec").get("postRenderers").each("postRenderers", func(renderer cursor) {
		findImages(renderer.get("kustomize").get("images"))
		leavePatches(renderer.get("kustomize"))
	})
}

func findApplicationValues(w *walk, root cursor) { findSources(w, root.get("spec")) }

func findApplicationSetValues(w *walk, root cursor) {
	findSources(w, root.get("spec").get("template").get("spec"))
	findGenerators(w, root.get("spec").get("generators"))
	root.get("spec").get("templatePatch").leaveText("an image in templatePatch", inText)
}

// findGenerators finds the images of the templates that generators have of their own
// (https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Template/). Those of a
// matrix or a merge are nested.
func findGenerators(w *walk, generators cursor) {
	generators.each("generators", func(one cursor) {
		one.each("generator", func(fields cursor) { // of list, matrix and the like
			findSources(w, fields.get("template").get("spec"))
			findGenerators(w, fields.get("generators"))
		})
	})
}

// findSources finds the images of the sources of an Application.
func findSources(w *walk, spec cursor) {
	find := func(source cursor) {
		chart := source.field("chart")
		chart.addExternal(chart.text(), false)
		findValues(w, source.get("helm").get("valuesObject"))
		leaveSource(source)
	}
	find(spec.get("source"))
	spec.get("sources").each("sources", find)
}

// findValues finds the references in the values of a chart. A chart can give any meaning to its
// values, so only these forms count, of which the first two have a key that ends with "image", and
// the third one is anywhere below a key that ends with "image" or "images":
//
//	image: {registry: quay.io, repository: team/app, tag: "1.25", digest: ""}
//	image: quay.io/team/app:1.25
//	image: {engine: {repository: team/app, tag: "1.25"}}
//
// The registry and the digest may be missing. If there is no key for a digest, the digest is
// written after the tag, where every chart takes it that writes repository:tag.
// They are left if a registry beside them or above them, or another repository with the same tag
// beside them, may change what the chart makes of them.
//
// These are only likely to be images. They are left, and a message names them:
//
//	sidecar: {repository: quay.io/a/b, tag: v1}   at any other key, but see sourceWord
//	image: {name: nginx, tag: "1.25"}             also with repo
//	images: {web: nginx:1.25}                     also in images.tags
func findValues(w *walk, root cursor) {
	global := root.get("global")
	w.registry = global.get("imageRegistry").node
	if w.registry == nil {
		w.registry = global.get("image").get("registry").node
	}
	if !isGiven(w.registry) {
		w.registry = nil
	}
	before := len(w.file.Left)
	w.values(root, valuesPlace{role: anyValues})
	w.dropLeft()
	w.leaveLikelyValues()
	slices.SortStableFunc(w.file.Left[before:], func(a, b Left) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// The roles of mappings and sequences in the values of a chart.
const (
	anyValues   role = "values"
	imageValues role = "values of an image"     // below a key that ends with "image" or "images"
	imagesList  role = "values that are images" // directly below a key that ends with "images"
)

// valuesPlace is what a mapping or a sequence in the values of a chart is, and what is above it
// that may belong to its images.
type valuesPlace struct {
	role
	above *registries // nil if there are none
}

// visited returns the role for the visits of a mapping or a sequence. An alias may put it in a
// place below a registry, and in another one.
func (p valuesPlace) visited() role {
	if p.above != nil {
		return p.role + " below a registry"
	}
	return p.role
}

// values finds the references in a value at a place.
func (w *walk) values(c cursor, at valuesPlace) {
	c.each(at.visited(), func(child cursor) {
		w.value(child, at)
		w.values(child, w.placeOf(child, at))
	})
}

// placeOf returns the place of a value, which is directly in one at another place. OpenStack-Helm
// has its images in images.tags.
func (w *walk) placeOf(c cursor, in valuesPlace) valuesPlace {
	p := valuesPlace{role: anyValues}
	key := c.lowerKey()
	switch {
	case strings.HasSuffix(key, "images"), in.role == imagesList && key == "tags":
		p.role = imagesList
	case strings.HasSuffix(key, "image"), in.role != anyValues:
		p.role = imageValues
	}
	if p.role != anyValues && len(c.node.Content) > 0 {
		p.above = w.registriesOf(c, in.above)
	}
	return p
}

// lowerKey returns the key of a value in lower case, or "" for an element of a sequence.
func (c cursor) lowerKey() string {
	if c.key == nil {
		return ""
	}
	return strings.ToLower(c.key.Value)
}

// value adds or leaves the image that a value is, in one at a place.
func (w *walk) value(c cursor, in valuesPlace) {
	isImage := strings.HasSuffix(c.lowerKey(), "image")
	switch kind := kindOf(c.node); {
	case kind == '"' && isImage:
		w.valueText(c, in.above)
	case kind == '"' && in.role == imagesList:
		w.likely = append(w.likely, likelyValue{c.node, c.leaveListed})
	case kind != '{':
	case isImage, in.role != anyValues && c.hasParts():
		w.valueParts(c, in.above)
	case c.hasParts() && !c.isSource():
		c.partsAreLikely("repository", "its key does not end with image")
	}
	if kindOf(c.node) == '{' && (isImage || in.role == imagesList) {
		c.leaveNamed()
	}
}

// isGiven reports whether a value is neither null nor empty.
func isGiven(n *yaml.Node) bool { return hasValue(n) || n != nil && len(n.Content) > 0 }

// These are why an image in values can't be pinned: it has a part of itself beside it, its tag is
// also that of another image, a part is set for all images, or its tag is missing.
const (
	besideIt = " beside it may be a part of the image; write its digest in these values"
	sameTag  = " beside it may be an image with the same tag, and a digest after that would be " +
		"for both; pin the output of helm template instead"
	newRegistry = "global.imageRegistry changes its registry; write its digest in these values"
	noTag       = "its tag is not set here, so the chart chooses it; set the tag and the digest in " +
		"these values"
)

// valueText adds an image that is one text. Without a tag and a digest, or with a digest or a
// registry beside it, the text may be only a part of a reference that the chart makes.
func (w *walk) valueText(c cursor, above *registries) {
	text := strings.TrimSpace(c.text())
	r, err := ref.Parse(text)
	near, stem := w.neighboursOf(c.parent), stemOf(c)
	beside := near.parts[stem]
	if r.Tagged() {
		beside = near.digests[stem]
	}
	registry := w.registriesOf(c, above).of(c.text())
	switch {
	case err != nil && variable(c.text()):
		c.leave(c.text(), onVariable)
	case err != nil:
	case text != c.text() && !r.Pinned():
		c.leaveReference(text, "it has white space before or after it; remove that")
	case beside != "" && !r.Pinned():
		c.leave(c.text(), beside+besideIt)
	case r.Pinned() && (registry != "" || w.registry != nil): // the digest counts in any registry
		c.addPinned(text)
	case registry != "":
		c.leave(c.text(), registry+besideIt)
	case !r.Tagged() && !r.Pinned():
		c.leave(c.text(), noTag)
	case w.registry != nil:
		c.leave(c.text(), newRegistry)
	default:
		c.whole("")
	}
}

// hasDigest reports whether the parts of an image have a digest.
func (c cursor) hasDigest() bool {
	text := "a:" + c.get("tag").text()
	if digest := c.get("digest").text(); digest != "" {
		text = "a@" + digest
	}
	r, err := ref.Parse(text)
	return err == nil && r.Pinned()
}

// addPinnedParts adds the reference of an image to File.Pinned, if its parts have a tag and a
// digest. digest is the one beside the tag, or empty.
func (c cursor) addPinnedParts(name, digest string) {
	tag := c.get("tag")
	text, _ := tag.scalar()
	text = name + ":" + text
	if digest != "" {
		text, _, _ = strings.Cut(text, "@")
		text += "@sha256:" + strings.TrimPrefix(digest, "sha256:")
	}
	if r, err := ref.Parse(text); err == nil && r.Pinned() {
		tag.addPinned(text)
	}
}

// hexDigest matches a digest with or without its algorithm.
var hexDigest = regexp.MustCompile(`^(?:sha256:)?[0-9a-f]{64}$`)

// valueParts adds an image whose parts have their own keys.
func (w *walk) valueParts(c cursor, above *registries) {
	registry, repository := c.get("registry"), c.get("repository")
	if repository.text() == "" {
		return
	}
	if sha := c.get("sha"); isGiven(sha.node) { // some charts' name of the digest
		switch {
		case hexDigest.MatchString(sha.text()):
			c.addPinnedParts(repository.text(), sha.text())
		case c.hasDigest():
			c.addPinnedParts(repository.text(), c.get("digest").text())
		default:
			sha.leave(repository.text(), "its sha is not a digest; write its digest there")
		}
		return
	}
	name, parts := repository.text(), []scalar{repository.asScalar()}
	if registry.text() != "" {
		name = registry.text() + "/" + name
		parts = append(parts, registry.asScalar())
	}
	switch why := w.whyLeft(c, name, above); {
	case why != "" && c.hasDigest():
		c.addPinnedParts(name, c.get("digest").text())
	case why != "":
		repository.leave(name, why)
	case !c.split(name, "tag", parts, false):
		repository.leave(name, noTag)
	}
}

// whyLeft returns why an image whose parts have their own keys can't be pinned, or "".
func (w *walk) whyLeft(c cursor, name string, above *registries) string {
	registry := c.get("registry")
	beside, other := w.registriesOf(c, above).of(name), w.neighboursOf(c.node).repository
	switch {
	case w.registry != nil:
		return newRegistry
	case registry.text() == "" && isGiven(registry.node):
		return "its registry is not a text; write it as one"
	case registry.text() == "" && beside != "":
		return beside + besideIt
	case other != "":
		return other + sameTag
	}
	return ""
}
