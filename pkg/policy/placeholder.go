// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// unreplaced reports whether r, which is exempt, is a placeholder in a Pod, which no injector has
// replaced. An exemption of exactly the placeholder is for pod templates. In a Pod the name would
// be pulled from Docker Hub or a mirror of it, from a repository that nobody here has chosen.
func (p *Policy) unreplaced(kind workload.Kind, r ref.Reference) bool {
	if kind != (workload.Kind{Kind: "Pod"}) || r.Canonical() != workload.Placeholder {
		return false
	}
	for _, e := range p.Exempt {
		if e.Match(r) && e.name+":"+e.tag != workload.Placeholder {
			return false
		}
	}
	return true
}
