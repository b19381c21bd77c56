// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// KustomizationNames are the names of the files that kustomize reads in a folder.
var KustomizationNames = [...]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// kustomizeGroup is the group of Kustomizations and Components.
const kustomizeGroup = "kustomize.config.k8s.io"

// isKustomization reports whether kustomize reads a document because of the name of its file. Its
// kind may be missing, but must not be another one. If it is there in two spellings, either may
// count.
func isKustomization(f *File, n *yaml.Node) bool {
	if !IsKustomizationName(f.as) || n.Kind != yaml.MappingNode {
		return false
	}
	keys := f.anyCase(n)
	version, kind := text(keys.get("apiVersion")), text(keys.get("kind"))
	return version == "" || kind == "" || workload.KindOf(version, kind).Group == kustomizeGroup ||
		keys.second[foldKey("apiVersion")] != nil || keys.second[foldKey("kind")] != nil
}

// IsKustomizationName reports whether kustomize takes a file for a Kustomization because of its
// name.
func IsKustomizationName(path string) bool {
	return slices.Contains(KustomizationNames[:], filepath.Base(path))
}

// findKustomization finds the images of a Kustomization, and the values of its charts. imageTags is
// the former name of images. If a Kustomization has both, kustomize uses the images of both
// (FixKustomization in kustomize's api/types).
func findKustomization(w *walk, root cursor) {
	for _, deciding := range []string{"apiVersion", "kind"} {
		root.get(deciding) // having it twice is an error
	}
	findImages(root.get("images"))
	findImages(root.get("imageTags"))
	root.get("helmCharts").each("charts", func(chart cursor) {
		findInlineValues(w, chart.get("valuesInline"))
	})
	leavePatches(root)
	root.get("transformers").each("transformers", func(transformer cursor) {
		if strings.Contains(transformer.text(), "ImageTagTransformer") {
			transformer.leave("an image in a transformer", inText)
		}
		transformer.leaveText("an image in a transformer", inText)
	})
	leaveReplacements(root.get("replacements"))
	addFetched(root)
}

// findInlineValues finds the images in the values of a chart. The case of their keys counts,
// because Helm reads them, and not kustomize.
func findInlineValues(w *walk, values cursor) {
	w.anyCase = false
	findValues(w, values)
	w.anyCase = true
}

// leaveReplacements leaves the images that kustomize replaces by other fields.
func leaveReplacements(replacements cursor) {
	replacements.each("replacements", func(r cursor) {
		r.get("targets").each("targets", func(target cursor) {
			target.get("fieldPaths").each("paths", func(path cursor) {
				if imageField.MatchString(path.text()) {
					path.leave("an image at "+path.text(), "kustomize replaces it by another field; write its "+
						"digest there")
				}
			})
		})
	})
}

func findSpecImages(_ *walk, root cursor) {
	findImages(root.get("spec").get("images"))
	leavePatches(root.get("spec"))
}

// findImages finds the references in the images of a Kustomization. An image replaces the name, the
// tag and the digest of references in manifests. If it has neither a tag nor a digest, those of the
// manifest stay. If it has a tag, but no digest, kustomize drops the digest of the manifest. With
// both, kustomize writes both (kustomize's api/filters/imagetag).
func findImages(images cursor) { images.each("images", findImage) }

// findImage finds the reference in an image of a Kustomization. If it has neither a tag nor a
// digest, but a suffix for tags, kustomize drops the digest of the manifest.
func findImage(image cursor) {
	name := image.get("newName")
	if name.text() == "" {
		name = image.get("name")
	}
	if name.text() == "" || image.split(name.text(), "newTag", []scalar{name.asScalar()}, true) {
		return
	}
	if suffix := image.get("tagSuffix"); hasValue(suffix.node) {
		suffix.leaveReference(name.text(), "tagSuffix removes the digest that it has in a manifest; "+
			"use newTag and digest")
	}
}

// isPlugin reports whether a document configures a generator or a transformer of kustomize itself.
func isPlugin(_ *File, n *yaml.Node) bool {
	return text(get(n, "apiVersion")) == "builtin" && text(get(n, "kind")) != ""
}

// findPlugin finds the images in the fields of kustomize's generators and transformers: those of an
// ImageTagTransformer, of a HelmChartInflationGenerator, and of those for patches.
func findPlugin(w *walk, root cursor) {
	addFetchedChart(root)
	findImage(root.get("imageTag"))
	findInlineValues(w, root.get("valuesInline"))
	for _, field := range []string{"patch", "patches", "jsonOp"} {
		root.get(field).leaveText("an image in a patch", inText)
	}
}
