// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"os"
	"regexp"
	"strconv"
	"strings"

	semver "k8s.io/apimachinery/pkg/util/version"
)

// Annotations of the registration.
const (
	// writtenBy says which server has written the rules: its version, and its image if it knows it.
	writtenBy = "tagpin.dev/written-by"
	// wantedImage says which image the manifests want to serve. It comes from the manifests.
	wantedImage = "tagpin.dev/image"
)

// writer is a server that writes rules. Its image is what the manifests call it, and empty if unknown.
type writer struct{ version, image string }

// self is this server.
func self() writer { return writer{moduleVersion(), os.Getenv("TAGPIN_IMAGE")} }

// String is the value of the annotation.
func (w writer) String() string { return strings.TrimSpace(w.version + " " + w.image) }

// parseWriter reads the annotation. Without one, the rules are those of nobody.
func parseWriter(text string) writer {
	number, image, _ := strings.Cut(text, " ")
	return writer{number, image}
}

// yields reports whether next may write over the rules that w has written. During an upgrade servers
// of two versions run, and an old one that reloads its config last must not put its old conditions
// back. The image that the manifests want decides first, so that a roll-back works as an upgrade
// does; if it says nothing, an older version yields to a newer one, and never the other way.
func (w writer) yields(next writer, wanted string) bool {
	if wanted != "" && next.image != "" && w.image != next.image {
		switch wanted {
		case next.image:
			return true
		case w.image:
			return false
		}
	}
	return !newer(w.version, next.version)
}

// described is a version as git describe prints it: v1.2.3, v1.2.3-rc.1, v1.2.3-4-g0123456789ab, which
// is four commits after v1.2.3, each with -dirty at its end or without.
var described = regexp.MustCompile(
	`^(v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)??)(?:-(\d+)-g[0-9a-f]+)?(?:-dirty)?(?:\+[0-9A-Za-z.-]+)?$`)

// newer reports whether version a is newer than b. Of versions without a number, such as a bare
// commit's, nobody knows.
func newer(a, b string) bool {
	x, y := described.FindStringSubmatch(a), described.FindStringSubmatch(b)
	if x == nil || y == nil {
		return false
	}
	base, err := semver.ParseSemantic(x[1])
	if err != nil {
		return false
	}
	order, err := base.Compare(y[1])
	if err != nil {
		return false
	}
	after := func(commits string) int {
		n, _ := strconv.Atoi(commits) // empty for the tag itself
		return n
	}
	return cmp.Or(order, cmp.Compare(after(x[2]), after(y[2]))) > 0
}
