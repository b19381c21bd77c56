// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	semver "k8s.io/apimachinery/pkg/util/version"
)

// Annotations of the registration.
const (
	// writtenBy has the version, and the image if known, of the server that has written the rules.
	writtenBy = "tagpin.dev/written-by"
	// wantedImage has the image that the manifests want to serve. It comes from the manifests.
	wantedImage = "tagpin.dev/image"
)

// writer is a server that has written, or may write, the rules. Its image is the one in the
// manifests, or empty if unknown.
type writer struct{ version, image string }

func (r *Registrar) self() writer { return writer{r.Version, r.Image} }

// String returns the value of the annotation writtenBy.
func (w writer) String() string { return strings.TrimSpace(w.version + " " + w.image) }

// parseWriter parses the annotation writtenBy, which is empty if no server has written the rules.
func parseWriter(text string) writer {
	version, image, _ := strings.Cut(text, " ")
	return writer{version, image}
}

// yields reports whether next may replace the rules that w has written. During an upgrade, servers
// of two versions run, and an old one that reloads its config last must not put its old conditions
// back. First the image that the manifests want decides, so that a rollback works like an upgrade.
// If that doesn't decide, an older version yields to a newer one, and never the other way round.
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

// described matches a version as git describe prints it, with or without -dirty: v1.2.3,
// v1.2.3-rc.1, or v1.2.3-4-g0123456789ab, which is four commits after v1.2.3.
var described = regexp.MustCompile(`^(v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)??)` +
	`(?:-(\d+)-g[0-9a-f]+)?(?:-dirty)?(?:\+[0-9A-Za-z.-]+)?$`)

// newer reports whether version a is newer than b. It is false if one of them has no number, such
// as a bare commit.
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
	commitsA, _ := strconv.Atoi(x[2]) // empty for the tag itself
	commitsB, _ := strconv.Atoi(y[2])
	return cmp.Or(order, cmp.Compare(commitsA, commitsB)) > 0
}
