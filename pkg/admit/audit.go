// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxAudit bounds the audit annotation: audit logs are not truncated by default. The API server has
// the same bound for those of its own policies
// (k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go).
const maxAudit = 10 << 10

// auditPins is the key of the audit annotation, before which the API server puts the webhook's name.
const auditPins = "pins"

// auditKey is the key of the audit annotation of a value. The API server drops a second value of the
// same key, which the reinvocation round may have. An object of that round has the record of the first
// one, so that the key of an object with a record has a part that differs with the value.
func (a *answer) auditKey(value string) string {
	for i := range a.request.Object.PodSpecs {
		if policy.AnnotationMetadata(a.request.Object, i).Annotations[workload.AnnotationPins] != "" {
			return auditPins + "-" + digest.FromString(value).Encoded()[:8]
		}
	}
	return auditPins
}

// auditLeftOut is the name of the entry that stands for those that were left out.
const auditLeftOut = "…"

// auditValue is the value of the audit annotation: pins by name, as many as there is room for.
func auditValue(pins map[string]string) string {
	size, kept := 0, map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(pins)) {
		if size += len(name) + len(pins[name]) + len(`"":"",`); size > maxAudit {
			kept[auditLeftOut] = fmt.Sprintf("and %d more", len(pins)-i)
			break
		}
		kept[name] = pins[name]
	}
	return encode(kept)
}
