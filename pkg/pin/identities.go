// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"strconv"
	"strings"

	"github.com/tagpin/tagpin/pkg/workload"
)

// identities numbers the distinct pull identities of an object, which may be thousands.
type identities struct {
	numbers map[string]int // by the names in them
	podSpec int            // whose number is last
	last    int
}

// number returns the number of the identity of a pod spec. Those of one pod spec come one after the
// other.
func (ids *identities) number(o *workload.Object, podSpec int) int {
	if len(o.PodSpecs) == 1 || ids.numbers != nil && podSpec == ids.podSpec {
		return ids.last
	}
	id := o.PodSpecs[podSpec].Identity
	var names strings.Builder
	for _, name := range append([]string{id.ServiceAccount}, id.PullSecrets...) {
		names.WriteString(strconv.Itoa(len(name)) + ":" + name)
	}
	n, known := ids.numbers[names.String()]
	if !known {
		if ids.numbers == nil {
			ids.numbers = map[string]int{}
		}
		n = len(ids.numbers)
		ids.numbers[names.String()] = n
	}
	ids.podSpec, ids.last = podSpec, n
	return n
}
