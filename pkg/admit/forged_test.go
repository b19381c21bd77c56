// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// withFields returns a review with some fields of its request replaced or added.
func withFields(t *testing.T, body []byte, fields map[string]any) []byte {
	t.Helper()
	var rv map[string]any
	if err := json.Unmarshal(body, &rv); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		rv["request"].(map[string]any)[name] = value
	}
	changed, err := json.Marshal(rv)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// debugReview returns a review of an update of a pod through a subresource.
func debugReview(t *testing.T, subresource, after, before string) []byte {
	t.Helper()
	body := review("UPDATE", "", "Pod", after, before)
	return withFields(t, body, map[string]any{"subResource": subresource})
}

// debugPod returns a pod with some metadata, some fields of its spec, and ephemeral containers.
func debugPod(metadata, spec, ephemeral string) string {
	return `{"metadata":{` + metadata + `},"spec":{` + spec +
		`"containers":[{"name":"a","image":"nginx"}],"ephemeralContainers":[` + ephemeral + `]}}`
}

const debugger = `{"name":"d","image":"ghcr.io/a/debugger:1"}`

// TestForgedMetadata updates a pod with metadata that would exempt it on creation. The API server
// drops it after the webhooks, so it exempts nothing.
func TestForgedMetadata(t *testing.T) {
	for name, metadata := range map[string]string{
		"mirror":  `"annotations":{"kubernetes.io/config.mirror":"h"}`,
		"deleted": `"deletionTimestamp":"2026-01-01T00:00:00Z"`,
	} {
		for _, subresource := range []string{"", "ephemeralcontainers"} {
			body := debugReview(t, subresource, debugPod(metadata, "", debugger), debugPod("", "", ""))
			r := respond(t, policy.Enforce, body)
			if !strings.Contains(string(r.Patch), "/spec/ephemeralContainers/0/image") {
				t.Errorf("%s through %q: patch %s, want the container pinned", name, subresource, r.Patch)
			}
		}
	}
}

// TestBeingDeleted changes an object that is being deleted, also in an update that says it is not.
func TestBeingDeleted(t *testing.T) {
	deployment := func(metadata, image string) string {
		return `{"metadata":{` + metadata + `},"spec":{"template":{"spec":{"containers":[
			{"name":"a","image":"` + image + `"}]}}}}`
	}
	const deleted = `"deletionTimestamp":"2026-01-01T00:00:00Z"`
	for _, metadata := range []string{"", deleted} {
		after, before := deployment(metadata, "a/missing"), deployment(deleted, "nginx")
		body := review("UPDATE", "apps", "Deployment", after, before)
		r := respond(t, policy.Enforce, body)
		if !r.Allowed || r.Patch != nil {
			t.Errorf("with %q: allowed %t, patch %s, want it left alone", metadata, r.Allowed, r.Patch)
		}
	}
}

// TestMirror reviews pods that say that they are the copy of a static pod. This only counts if a
// node creates them.
func TestMirror(t *testing.T) {
	const mirror = `{"metadata":{"annotations":{"kubernetes.io/config.mirror":"h"}},
		"spec":{"containers":[{"name":"a","image":%q}]}}`
	for _, tt := range []struct {
		name, operation string
		groups          any
		skipped         bool
	}{
		{"a node", "CREATE", []string{"system:authenticated", "system:nodes"}, true},
		{"a user", "CREATE", []string{"system:authenticated"}, false},
		{"a user without groups", "CREATE", nil, false},
		{"a group with a similar name", "CREATE", []string{"x:system:nodes", "system:nodes:x"}, false},
		{"groups of another type", "CREATE", map[string]string{"system:nodes": "system:nodes"}, false},
		{"a node that changes it", "UPDATE", []string{"system:nodes"}, false},
	} {
		after, before := fmt.Sprintf(mirror, "nginx:2"), fmt.Sprintf(mirror, "nginx:1")
		body := review(tt.operation, "", "Pod", after, before)
		user := map[string]any{"groups": tt.groups, "username": "someone"}
		body = withFields(t, body, map[string]any{"userInfo": user})
		r := respond(t, policy.Enforce, body)
		if skipped := r.Allowed && r.Patch == nil; skipped != tt.skipped {
			t.Errorf("%s: skipped %t, want %t", tt.name, skipped, tt.skipped)
		}
	}
}

// TestDebugIdentity updates the ephemeral containers of a pod, and its pull identity. The API
// server keeps the pod's own pull secrets and service account, so the kubelet pulls with those.
func TestDebugIdentity(t *testing.T) {
	const own = `"serviceAccountName":"own","imagePullSecrets":[{"name":"own"}],`
	const other = `"serviceAccountName":"other","imagePullSecrets":[{"name":"other"}],`
	var got []workload.Identity
	h := newHandler(t, policy.Enforce, registry)
	h.Keychain = func(_ string, id workload.Identity) keychain.Keychain {
		got = append(got, id)
		none := func(context.Context, ref.Reference, bool) []keychain.Credential { return nil }
		return keychain.Func(none)
	}
	body := debugReview(t, "ephemeralcontainers", debugPod("", other, debugger), debugPod("", own, ""))
	if r, _ := post(t, h, body); !r.Allowed {
		t.Fatal(r.Result)
	}
	want := []workload.Identity{{ServiceAccount: "own", PullSecrets: []string{"own"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pull identities: -want +got\n%s", diff)
	}
}

// TestDebugIsADeploy adds an ephemeral container to a pod of a controller. A person does that, so
// the registry is asked, and not the cache.
func TestDebugIsADeploy(t *testing.T) {
	var fresh []bool
	h := newHandler(t, policy.Enforce, resolve.Func(
		func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			fresh = append(fresh, req.Fresh)
			return registry(ctx, req)
		}))
	const owned = `"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"a","uid":"1","controller":true}]`
	body := debugReview(t, "ephemeralcontainers", debugPod(owned, "", debugger), debugPod(owned, "", ""))
	if r, _ := post(t, h, body); !r.Allowed || !slices.Equal(fresh, []bool{true}) {
		t.Errorf("%+v by lookups with Fresh %v, want it pinned by one with Fresh true", r, fresh)
	}
}

// TestDebugLeavesTheRest updates ephemeral containers, and the others with them. The API server
// drops the latter, so they are neither looked up nor a reason to deny.
func TestDebugLeavesTheRest(t *testing.T) {
	after := `{"metadata":{},"spec":{"containers":[{"name":"a","image":"ghcr.io/a/missing:1"}],
		"volumes":[{"name":"v","image":{"reference":"ghcr.io/a/missing:1"}}],
		"ephemeralContainers":[` + debugger + `,{"name":"e"}]}}`
	body := debugReview(t, "ephemeralcontainers", after, debugPod("", "", ""))
	r := respond(t, policy.Enforce, body)
	const debugger = "ghcr.io/a/debugger:1"
	want := fmt.Sprintf(`[{"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"%s@%s"}]`,
		debugger, digestOf(debugger))
	if !r.Allowed || string(r.Patch) != want {
		t.Errorf("allowed %t, patch %s, want %s", r.Allowed, r.Patch, want)
	}
}
