// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/tagpin/tagpin/pkg/policy"
)

// manyContainers is a Pod with so many containers of one image.
func manyContainers(n int, image string) string {
	containers := make([]string, n)
	for i := range containers {
		containers[i] = fmt.Sprintf(`{"name":"c%04d","image":%q}`, i, image)
	}
	return `{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}`
}

// A denial, which controllers write into events and statuses, and an audit annotation have a few
// kilobytes, however many images there are, and say how many are left out.
func TestAnswersAreBounded(t *testing.T) {
	const images = 3000
	r, code := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", manyContainers(images, "ghcr.io/a/missing:1"), ""))
	if code != http.StatusOK || r.Allowed {
		t.Fatalf("status %d, answer %+v, want it denied", code, r)
	}
	if m := r.Result.Message; len(m) > 5000 || !strings.HasPrefix(m, `container "c0000"`) || !strings.HasSuffix(m, " more") {
		t.Errorf("the denial has %d bytes and ends in %q, want a few with the number of the rest", len(m), m[len(m)-30:])
	}
	r, _ = post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", manyContainers(images, "nginx"), ""))
	audit := r.AuditAnnotations["pins"]
	var pins map[string]string
	if err := json.Unmarshal([]byte(audit), &pins); err != nil || len(audit) > 11_000 {
		t.Fatalf("the audit annotation has %d bytes: %v", len(audit), err)
	}
	if got, want := pins["…"], fmt.Sprintf("and %d more", images-len(pins)+1); got != want || !strings.HasPrefix(pins["c0000"], "nginx@sha256:") {
		t.Errorf("the audit annotation has %d entries and says %q, want %q", len(pins), got, want)
	}
}

// In the reinvocation round the audit annotation has another key: the API server drops a second
// value of the first one.
func TestAuditOfReinvocation(t *testing.T) {
	h := newHandler(t, policy.Enforce, registry)
	object := `{"metadata":{},"spec":{"containers":[{"name":"a","image":"nginx"}]}}`
	r, _ := post(t, h, review("CREATE", "", "Pod", object, ""))
	if len(r.AuditAnnotations) != 1 || r.AuditAnnotations["pins"] == "" {
		t.Fatalf("first round: %v", r.AuditAnnotations)
	}
	patch, err := jsonpatch.DecodePatch(r.Patch)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := patch.Apply([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	injected := strings.Replace(string(pinned), `"containers":[`, `"containers":[{"name":"sidecar","image":"busybox"},`, 1)
	r, _ = post(t, h, review("CREATE", "", "Pod", injected, ""))
	if len(r.AuditAnnotations) != 1 || r.AuditAnnotations["pins"] != "" {
		t.Errorf("second round: %v, want another key than the first one's", r.AuditAnnotations)
	}
	for key, value := range r.AuditAnnotations {
		if !strings.HasPrefix(key, "pins-") || !strings.Contains(value, "sidecar") {
			t.Errorf("second round: %s: %s, want the sidecar's pin", key, value)
		}
	}
	// A pod inherits the record from its template: each of its rounds has a key of its own.
	again := strings.Replace(injected, `"containers":[`, `"containers":[{"name":"second","image":"busybox"},`, 1)
	r2, _ := post(t, h, review("CREATE", "", "Pod", again, ""))
	for key := range r2.AuditAnnotations {
		if _, ok := r.AuditAnnotations[key]; ok {
			t.Errorf("another value has the key %s too", key)
		}
	}
}
