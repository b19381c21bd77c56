// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/ref"
)

// isCompose reports whether a document is a compose file: its services have images, or are built.
// A service that another file removes is no mapping (services.a: !reset null). The values of a
// chart can have such services too.
func isCompose(f *File, n *yaml.Node) bool {
	services := get(n, "services")
	if services == nil || services.Kind != yaml.MappingNode || isValues(f, n) {
		return false
	}
	images := false
	for p := range slices.Chunk(services.Content, 2) {
		image := f.get(p[1], "image")
		if image != nil && image.Kind != yaml.ScalarNode {
			return false
		}
		images = images || image != nil || f.get(p[1], "build") != nil
	}
	return images
}

// isSet reports whether a field of a compose file has a value. The tag !reset removes the value
// that another file sets.
func isSet(field cursor) bool {
	return field.node != nil && kindOf(field.node) != 'n' && field.node.Tag != "!reset"
}

// findCompose finds the references of services, and leaves the images of services that are built.
func findCompose(_ *walk, root cursor) {
	root.get("services").each("services", func(service cursor) {
		service.get("volumes").each("volumes", func(volume cursor) {
			if volume.get("type").text() == "image" {
				volume.get("source").whole("")
			}
		})
		findBuild(service.get("build"))
		image, policy := service.get("image"), service.get("pull_policy").text()
		switch {
		case !isSet(image):
		case !isSet(service.get("build")):
			image.wholeUnless("", policy == "never")
		case policy != "build" && policy != "never":
			image.leaveBuilt()
		}
	})
}

// fromLine matches a line of a Dockerfile with the image of a stage.
var fromLine = regexp.MustCompile(`(?im)^[ \t]*FROM[ \t]`)

// findBuild finds the references that the build of a service uses as its contexts, and leaves those
// of a Dockerfile that is a text.
func findBuild(build cursor) {
	const image = "docker-image://"
	build.get("additional_contexts").each("contexts", func(context cursor) {
		if name, _, ok := strings.Cut(context.text(), image); ok { // name= in a list
			context.whole(name + image)
		}
	})
	if file := build.get("dockerfile_inline"); fromLine.MatchString(file.text()) {
		file.leave("an image in dockerfile_inline", inText)
	}
}

// leaveBuilt leaves the image of a service that is built. It is the name of the result, so it can't
// be pinned, and it is no finding: most people who name a result have never pushed it. But unless
// the policy says otherwise, Compose first tries to pull it
// (https://github.com/compose-spec/compose-spec/blob/main/build.md#using-build-and-image).
func (c cursor) leaveBuilt() {
	text := c.text()
	if r, err := ref.Parse(text); strings.TrimSpace(text) != "" && (err != nil || !r.Pinned()) {
		c.leave(text, "Compose tries to pull it before it builds it; set pull_policy to build or never")
	}
}
