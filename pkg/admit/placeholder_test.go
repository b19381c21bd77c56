// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
)

// exemptingHandler returns a handler with exemptions that allows every failure and counts the
// lookups.
func exemptingHandler(
	t *testing.T, mode policy.Mode, n *atomic.Int64, patterns ...string,
) *admit.Handler {
	t.Helper()
	h := newHandler(t, mode, counting(n))
	h.OnFailure = failure.Actions{failure.NotFound: failure.Allow, failure.Unauthorized: failure.Allow}
	for _, s := range patterns {
		p, err := policy.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		h.Pinner.Policy.Exempt = append(h.Pinner.Policy.Exempt, p)
	}
	return h
}

// TestPlaceholder checks that Istio's placeholder is left alone in a pod template, which an
// injector will see, and refused in a Pod that no injector has changed. No registry is asked for
// it, and no policy of onFailure admits it.
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
		message                   string
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
			h := exemptingHandler(t, tt.mode, &lookups, tt.patterns...)
			r, _ := post(t, h, review("CREATE", tt.group, tt.kind, tt.object, ""))
			message := strings.Join(r.Warnings, "\n")
			if !r.Allowed {
				message = r.Result.Message
			}
			if r.Allowed == tt.denied || !strings.HasPrefix(message, tt.message) || tt.message == "" && message != "" {
				t.Errorf("allowed %t, message %q, want %q", r.Allowed, message, tt.message)
			}
			proposed := strings.Contains(string(r.Patch), "error: container")
			if n := lookups.Load(); n != 0 || proposed != (tt.mode == policy.Propose) {
				t.Errorf("%d lookups, patch %s, want none, and the error proposed in dry-run", n, r.Patch)
			}
		})
	}
}

// TestPlaceholderUpdated puts the placeholder into a pod that was injected. If it was there before,
// it stays, like everything that is unchanged.
func TestPlaceholderUpdated(t *testing.T) {
	pod := func(image string) string {
		return `{"metadata":{},"spec":{"containers":[{"name":"istio-proxy","image":"` + image + `"}]}}`
	}
	for before, allowed := range map[string]bool{"istio/proxyv2:1": false, "auto": true} {
		var lookups atomic.Int64
		h := exemptingHandler(t, policy.Enforce, &lookups, "docker.io/library/auto:latest")
		r, _ := post(t, h, review("UPDATE", "", "Pod", pod("auto"), pod(before)))
		if r.Allowed != allowed {
			t.Errorf("auto after %s: allowed %t, want %t", before, r.Allowed, allowed)
		}
	}
}
