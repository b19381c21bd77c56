// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Referenced is what a Kustomization refers to: a file, which kustomize reads whatever its name is,
// or a folder with a Kustomization of its own.
type Referenced struct {
	// Path is the path as it is written, which need not exist. It may also be the URL of a file, a Git
	// repository, or the text of a patch.
	Path string

	values bool // it is a file with values of a Helm chart
}

// As returns the name by which ParseAs reads a file at a path as kustomize reads it. It is the path
// itself, unless the file has to be read in another way than its own name tells.
func (r Referenced) As(path string) string {
	switch {
	case r.values && !valuesName.MatchString(filepath.Base(path)):
		return "values.yaml"
	case isDockerfile(path):
		return "manifest.yaml"
	}
	return path
}

// ReferencedIn returns what a Kustomization refers to, whose content is data. Of one that is not
// valid, it returns what is before the error, which Parse returns.
func ReferencedIn(data []byte) (found []Referenced) {
	f := &File{data: data, lines: newLineIndex(data)}
	_ = f.parse()
	for _, root := range f.documents {
		if f.addFollowed(root) != nil {
			break
		}
		w := &walk{file: f, seen: map[visit]bool{}}
		cursor{walk: w, node: root}.each("kustomization", func(field cursor) {
			found = append(found, referencedIn(field)...)
		})
	}
	return found
}

// referencedIn returns what a field of a Kustomization refers to. kustomize ignores the case of
// keys.
func referencedIn(field cursor) (found []Referenced) {
	add := func(values bool) func(c cursor) {
		return func(c cursor) {
			if path := text(c.node); path != "" {
				found = append(found, Referenced{path, values})
			}
		}
	}
	switch {
	case field.isAt("resources", "bases", "components", "generators", "transformers", "validators",
		"configurations", "patchesStrategicMerge"):
		field.each("paths", add(false))
	case field.isAt("patches", "patchesJson6902", "replacements"):
		field.eachField("files", func(of cursor) {
			if of.isAt("path") {
				add(false)(of)
			}
		})
	case field.isAt("helmCharts", "helmChartInflationGenerator"):
		field.eachField("charts", func(of cursor) {
			switch {
			case of.isAt("valuesFile", "values"):
				add(true)(of)
			case of.isAt("additionalValuesFiles"):
				of.each("values", add(true))
			}
		})
	case field.isAt("configMapGenerator", "secretGenerator"):
		field.eachField("generators", func(of cursor) {
			if !of.isAt("files") {
				return
			}
			of.each("generated", func(file cursor) {
				if path, ok := generatedValues(text(file.node)); ok {
					found = append(found, Referenced{path, true})
				}
			})
		})
	}
	return found
}

// generatedValues returns the path of a file that a generator puts into a ConfigMap or a Secret, if
// its key there is the name of a chart's values, which a HelmRelease of Flux can read. Without a
// key, the name of the file is the key.
func generatedValues(text string) (path string, ok bool) {
	key, path, hasKey := strings.Cut(text, "=")
	if !hasKey {
		path = text
	}
	return path, path != "" && valuesName.MatchString(filepath.Base(key))
}

// isAt reports whether a value has one of some keys, in lower or upper case.
func (c cursor) isAt(keys ...string) bool {
	return c.key != nil && c.key.Kind == yaml.ScalarNode &&
		slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, c.key.Value) })
}

// eachField calls do with each value of the mappings in a list.
func (c cursor) eachField(as role, do func(c cursor)) {
	c.each(as, func(item cursor) { item.each(as+"[*]", do) })
}
