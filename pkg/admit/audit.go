// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxAudit bounds the audit annotation: audit logs are not truncated by default. The API server has
// the same bound for those of its own policies
// (k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go).
const maxAudit = 10 << 10

// Keys of the audit annotation. The API server puts the webhook's name before them. It drops another
// value of the same key, so that a review of the reinvocation round needs its own.
const (
	auditPins        = "pins"
	auditReinvoked   = "pins-reinvoked"
	auditLeftOutName = "…" // of the entry that stands for those that were left out
)

// auditKey is the key of the audit annotation. In the reinvocation round the object already has the
// record that the first round wrote, which the stored one does not have.
func (a *answer) auditKey() string {
	object, old := a.request.Object, a.request.Old
	for i := range object.PodSpecs {
		record := recordOf(object, i)
		if record != "" && (old == nil || i >= len(old.PodSpecs) || record != recordOf(old, i)) {
			return auditReinvoked
		}
	}
	return auditPins
}

func recordOf(o *workload.Object, i int) string {
	return policy.AnnotationMetadata(o, i).Annotations[workload.AnnotationPins]
}

// auditValue is the value of the audit annotation: pins by name, as many as there is room for.
func auditValue(pins map[string]string) string {
	size, kept := 0, map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(pins)) {
		if size += len(name) + len(pins[name]) + len(`"":"",`); size > maxAudit {
			kept[auditLeftOutName] = fmt.Sprintf("and %d more", len(pins)-i)
			break
		}
		kept[name] = pins[name]
	}
	return encode(kept)
}
