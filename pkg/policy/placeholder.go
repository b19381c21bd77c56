// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// unreplaced reports whether r, which is exempt, is a placeholder in a Pod that no injector has
// replaced. An exemption of exactly the placeholder is meant for pod templates. In a Pod, the
// kubelet would pull the name from Docker Hub or a mirror of it, from a repository that nobody in
// the cluster has chosen.
func (p *Policy) unreplaced(kind workload.Kind, r ref.Reference) bool {
	if kind != podKind || r.Canonical() != workload.Placeholder {
		return false
	}
	for _, e := range p.Exempt {
		if e.Match(r) && e.name+":"+e.tag != workload.Placeholder {
			return false
		}
	}
	return true
}
