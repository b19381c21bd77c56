// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tagpin/tagpin/pkg/printable"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Bounds of what one namespace may add. All other containers of it are counted together.
const (
	maxRows = 10_000  // of a namespace
	maxText = 4 << 20 // bytes of the texts in the rows of a namespace
	// maxImage is longer than any valid image, so that a text that was cut remains invalid. An
	// imageID may have a scheme as well.
	maxImage   = ref.MaxLength + 1
	maxImageID = ref.MaxLength + 32
)

// losses are the reasons why containers of a namespace are only counted, as a set of bits.
type losses int

const (
	lostRows     losses = 1 << iota // the namespace has maxRows already
	lostText                        // its texts have maxText
	lostOfPod                       // a pod has too many containers
	lostToMemory                    // a report of all namespaces may not take more memory
)

// String returns the reasons in one sentence without a full stop.
func (l losses) String() string {
	var texts []string
	for _, reason := range []struct {
		losses
		text string
	}{
		{lostRows, fmt.Sprintf("the namespace has more than %d different containers", maxRows)},
		{lostText, fmt.Sprintf("the names and images of the namespace have more than %d MiB",
			maxText>>20)},
		{lostOfPod, fmt.Sprintf("a pod of the namespace has more than %d containers and image volumes",
			workload.MaxReferences)},
		{lostToMemory, "the report would need more memory than there is; raise " +
			"audit.resources.limits.memory of the chart, and GOMEMLIMIT if extraEnv sets it"},
	} {
		if l&reason.losses != 0 {
			texts = append(texts, reason.text)
		}
	}
	return strings.Join(append(texts, "these containers were only counted"), "; ")
}

// invalid is the kind or the name of an owner that no object can have.
const invalid = "(invalid)"

var (
	validKind = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)
)

// Valid returns the owner with fixed words instead of texts that no object can have. Anyone who may
// create a pod chooses what its owner is called.
func (o Owner) Valid() Owner {
	if o.Kind != "" && !validKind.MatchString(o.Kind) {
		o.Kind = invalid
	}
	if len(o.Name) > workload.MaxName || o.Name != "" && !validName.MatchString(o.Name) {
		o.Name = invalid
	}
	if len(o.Group) > workload.MaxName || o.Group != "" && !validName.MatchString(o.Group) {
		o.Group = invalid
	}
	o.UID = head(o.UID, workload.MaxName)
	return o
}

// bounded returns the container with texts of a bounded length.
func (c Container) bounded() Container {
	c.Name = printable.Text(head(c.Name, workload.MaxName))
	c.Image, c.ImageID = head(c.Image, maxImage), head(c.ImageID, maxImageID)
	return c
}

// bounded returns an identity with texts of a bounded length.
func bounded(id workload.Identity) workload.Identity {
	id.ServiceAccount = head(id.ServiceAccount, workload.MaxName)
	secrets := make([]string, 0, min(len(id.PullSecrets), workload.MaxPullSecrets+1))
	for _, name := range id.PullSecrets[:cap(secrets)] {
		secrets = append(secrets, head(name, workload.MaxName))
	}
	id.PullSecrets = secrets
	return id
}

// head returns the beginning of a text, without keeping the rest in memory.
func head(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.Clone(text[:most])
}

// size returns the number of bytes of the texts of a row.
func (k key) size() int {
	return len(k.owner.Group) + len(k.owner.Kind) + len(k.owner.Name) + len(k.owner.UID) +
		len(k.container.Name) + len(k.container.Image) + len(k.container.ImageID) +
		len(k.container.unread)
}

func sizeOf(id workload.Identity) int {
	size := len(id.ServiceAccount)
	for _, name := range id.PullSecrets {
		size += len(name)
	}
	return size
}
