// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// isCompose reports whether a document is a compose file: its services have images, or are built.
// A service that another file removes is no mapping (services.a: !reset null).
func isCompose(_ *File, n *yaml.Node) bool {
	services := get(n, "services")
	if services == nil || services.Kind != yaml.MappingNode {
		return false
	}
	images := false
	for p := range slices.Chunk(services.Content, 2) {
		image := get(p[1], "image")
		if image != nil && image.Kind != yaml.ScalarNode {
			return false
		}
		images = images || image != nil || get(p[1], "build") != nil
	}
	return images
}

// isSet reports whether a field of a compose file has a value. The tag !reset removes the value
// that another file sets.
func isSet(field cursor) bool {
	return field.node != nil && kindOf(field.node) != 'n' && field.node.Tag != "!reset"
}

// findCompose finds the references of services. The image of a service that is built is the name of
// the result.
func findCompose(_ *walk, root cursor) {
	root.get("services").each("services", func(service cursor) {
		if image := service.get("image"); isSet(image) && !isSet(service.get("build")) {
			image.wholeUnless("", service.get("pull_policy").text() == "never")
		}
	})
}
