// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

const (
	// maxAudit is the greatest size of an audit annotation in bytes, because audit logs are not
	// truncated by default. The API server has the same limit for the audit annotations of its own
	// policies (k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go).
	maxAudit = 10 << 10
	// auditKey is the key of the audit annotation. The API server puts the webhook's name before it.
	auditKey = "pins"
	// auditOmitted is the key of the entry for the pins that were left out.
	auditOmitted = "…"
)

// Audit returns the audit annotations for some pins, by key. There is at most one, with as many of
// the pins as there is room for.
//
// again is true if the object has a record of pins already, as it does in the reinvocation round of
// the API server. The API server drops a second value of the same key, so the key then has a part
// that depends on the value.
func Audit(pins map[string]string, again bool) map[string]string {
	size, kept := 0, map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(pins)) {
		if size += len(name) + len(pins[name]) + len(`"":"",`); size > maxAudit {
			kept[auditOmitted] = fmt.Sprintf("and %d more", len(pins)-i)
			break
		}
		kept[name] = pins[name]
	}
	value, key := encode(kept), auditKey
	if value == "" {
		return nil
	}
	if again {
		key += "-" + digest.FromString(value).Encoded()[:8]
	}
	return map[string]string{key: value}
}
