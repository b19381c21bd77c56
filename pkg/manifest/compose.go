// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// isCompose reports whether a document is a compose file: its services have images, or are built.
func isCompose(_ *File, n *yaml.Node) bool {
	services := get(n, "services")
	if services == nil || services.Kind != yaml.MappingNode {
		return false
	}
	images := false
	for p := range slices.Chunk(services.Content, 2) {
		if p[1].Kind != yaml.MappingNode {
			return false
		}
		images = images || get(p[1], "image") != nil || get(p[1], "build") != nil
	}
	return images
}

// findCompose finds the references of services. The image of a service that is built is the name of
// the result.
func findCompose(_ *walk, root cursor) {
	root.get("services").each(func(service cursor) {
		if service.get("build").node == nil {
			service.get("image").wholeUnless("", service.get("pull_policy").text() == "never")
		}
	})
}
