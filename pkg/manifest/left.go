// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// leaveTemplates adds the images of pod templates to those that can't be pinned. The table has no
// path for the object's kind, so nobody knows whether the templates become pods.
func (f *File) leaveTemplates(n *yaml.Node, kind workload.Kind) {
	why := fmt.Sprintf("no pod template is known in a %s; add it to `templates` in the config",
		kind.Kind)
	w := &walk{file: f, seen: map[*yaml.Node]bool{}}
	var visit func(c cursor)
	visit = func(c cursor) {
		if c.key != nil && (c.key.Value == "containers" || c.key.Value == "initContainers") &&
			c.node.Kind == yaml.SequenceNode {
			c.each(func(container cursor) {
				if image := container.get("image"); image.text() != "" {
					image.leave(image.text(), why)
				}
			})
		}
		c.each(visit)
	}
	visit(cursor{walk: w, node: n})
}

// imageLine matches a line of a text that is YAML or JSON, if it has an image.
var imageLine = regexp.MustCompile(`(?im)^[^#\r\n]*image["']?[ \t]*:`)

// leaveText leaves a text that names an image. The package does not look into texts, because they
// may be templates or patches.
func (c cursor) leaveText(name, why string) {
	if imageLine.MatchString(c.text()) {
		c.leave(name, why)
	}
}

// leavePatches leaves the patches of a Kustomization that name an image.
func leavePatches(patches cursor) {
	patches.each(func(patch cursor) {
		const why = "it is in a text, which tagpin does not look into"
		patch.leaveText("an image in a patch", why)
		patch.get("patch").leaveText("an image in a patch", why)
	})
}

// parameterName matches the names of Helm's parameters that are an image or a part of one.
var parameterName = regexp.MustCompile(`(?i)image(\.?(tag|digest|repository|name))?$`)

// leaveSource leaves the images in a source of an Application that are no values of a chart.
func leaveSource(source cursor) {
	helm := source.get("helm")
	helm.get("values").leaveText("an image in helm.values",
		"it is in a text, which tagpin does not look into; use helm.valuesObject")
	helm.get("parameters").each(func(parameter cursor) {
		name, value := parameter.get("name").text(), parameter.get("value")
		if parameterName.MatchString(name) && value.node != nil && value.node.Kind == yaml.ScalarNode {
			value.leave(name+"="+value.node.Value, "it is a parameter of Helm; use helm.valuesObject")
		}
	})
	source.get("kustomize").get("images").each(func(image cursor) {
		if image.text() != "" && !strings.Contains(image.text(), "@") {
			image.leave(image.text(), "it is an image of kustomize in an Application; write its digest "+
				"there, or pin it in the Kustomization")
		}
	})
}
