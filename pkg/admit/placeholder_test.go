// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/policy"
)

// exempting is a handler with exemptions that allows every failure and counts the look-ups.
func exempting(t *testing.T, mode policy.Mode, n *atomic.Int64, patterns ...string) *admit.Handler {
	t.Helper()
	h := newHandler(t, mode, counting(n))
	h.OnFailure = admit.OnFailure{NotFound: admit.Allow, Unauthorized: admit.Allow}
	for _, s := range patterns {
		p, err := policy.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		h.Pinner.Policy.Exempt = append(h.Pinner.Policy.Exempt, p)
	}
	return h
}

// TestPlaceholder has Istio's placeholder where an injector is still to come, and where none has
// come. No registry is asked for it, and no onFailure lets it through.
func TestPlaceholder(t *testing.T) {
	const placeholder = "docker.io/library/auto:latest"
	spec := `{"containers":[{"name":"istio-proxy","image":"auto"}]}`
	pod := `{"metadata":{"annotations":{}},"spec":` + spec + `}`
	deployment := `{"spec":{"template":{"metadata":{},"spec":` + spec + `}}}`
	const refused = `container "istio-proxy": no injector has replaced the placeholder auto; check`
	byName := []string{placeholder, "docker.io/library/auto"}
	all := []string{"docker.io/library/*", placeholder}
	for _, tt := range []struct {
		name, group, kind, object string
		mode                      policy.Mode
		patterns                  []string
		denied                    bool
		said                      string
	}{
		{"a template", "apps", "Deployment", deployment, policy.Enforce, []string{placeholder}, false, ""},
		{"a pod", "", "Pod", pod, policy.Enforce, []string{placeholder}, true, refused},
		{"a pod, in dry-run", "", "Pod", pod, policy.Propose, []string{placeholder}, false, refused},
		{"a pod, in keep", "", "Pod", pod, policy.Keep, []string{placeholder}, false, ""},
		{"a pod, exempt by name", "", "Pod", pod, policy.Enforce, byName, false, ""},
		{"a pod, exempt with others", "", "Pod", pod, policy.Enforce, all, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lookups atomic.Int64
			h := exempting(t, tt.mode, &lookups, tt.patterns...)
			r, _ := post(t, h, review("CREATE", tt.group, tt.kind, tt.object, ""))
			said := strings.Join(r.Warnings, "\n")
			if !r.Allowed {
				said = r.Result.Message
			}
			if r.Allowed == tt.denied || !strings.HasPrefix(said, tt.said) || tt.said == "" && said != "" {
				t.Errorf("allowed %t, said %q, want %q", r.Allowed, said, tt.said)
			}
			proposed := strings.Contains(string(r.Patch), "error: container")
			if n := lookups.Load(); n != 0 || proposed != (tt.mode == policy.Propose) {
				t.Errorf("%d look-ups, patch %s, want none, and the error proposed in dry-run", n, r.Patch)
			}
		})
	}
}

// TestPlaceholderUpdated puts the placeholder into a pod that was injected. What stood there before
// is left, as everything that is unchanged.
func TestPlaceholderUpdated(t *testing.T) {
	pod := func(image string) string {
		return `{"metadata":{},"spec":{"containers":[{"name":"istio-proxy","image":"` + image + `"}]}}`
	}
	for before, allowed := range map[string]bool{"istio/proxyv2:1": false, "auto": true} {
		var lookups atomic.Int64
		h := exempting(t, policy.Enforce, &lookups, "docker.io/library/auto:latest")
		r, _ := post(t, h, review("UPDATE", "", "Pod", pod("auto"), pod(before)))
		if r.Allowed != allowed {
			t.Errorf("auto after %s: allowed %t, want %t", before, r.Allowed, allowed)
		}
	}
}
