// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
)

const threeImages = `{"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"good","image":"ghcr.io/a/good:1"},{"name":"bad","image":%q},{"name":"fine","image":"ghcr.io/a/fine:1"}]}}}}`

// TestFailures reviews objects that have one image that can't be resolved among three. The other
// images are pinned all the same, and the answer is what onFailure says for the class of the
// failure and the kind of the object.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		image string
		onPod bool
		want  string // of the message or the warning
		deny  bool
	}{
		{"ghcr.io/a/missing:1", false, `container "bad": can't pin ghcr.io/a/missing:1: ghcr.io: manifest not found (404); check the image's name and tag`, true},
		{"ghcr.io/a/private:1", false, `admitted as it is; its pods wait until the image resolves: container "bad": can't pin ghcr.io/a/private:1: denied (401); check the image's name, or give the pod or its service account "default" an image pull secret`, false},
		{"ghcr.io/a/down:1", false, `admitted as it is; its pods wait`, false},
		{"ghcr.io/a/down:1", true, `container "bad": can't pin ghcr.io/a/down:1: ghcr.io: unreachable; try again later, or write the digest into the manifest`, true},
	} {
		group, kind, object := "apps", "Deployment", fmt.Sprintf(threeImages, tt.image)
		if tt.onPod {
			group, kind = "", "Pod"
			object = strings.TrimSuffix(strings.TrimPrefix(object, `{"spec":{"template":`), "}}")
		}
		r := respond(t, policy.Enforce, review("CREATE", group, kind, object, ""))
		message := strings.Join(r.Warnings, "\n")
		if tt.deny {
			message = r.Result.Message
		} else if strings.Count(string(r.Patch), "replace") != 2 {
			t.Errorf("%s: patch %s, want the two others pinned", tt.image, r.Patch)
		}
		if r.Allowed == tt.deny || !strings.Contains(message, tt.want) {
			t.Errorf("%s: allowed %t, message %q, want %q", tt.image, r.Allowed, message, tt.want)
		}
	}
}

// TestAllow checks that an image that can't be resolved is admitted if onFailure allows it, with a
// warning. It is counted, and is not in the audit annotation.
func TestAllow(t *testing.T) {
	metrics := prometheus.NewRegistry()
	h := newHandler(t, policy.Enforce, registry)
	h.OnFailure = failure.Actions{failure.NotFound: failure.Allow}
	h.Metrics = admit.NewMetrics(metrics)
	r, _ := post(t, h, review("CREATE", "apps", "Deployment", fmt.Sprintf(threeImages, "ghcr.io/a/missing:1"), ""))
	const warning = `admitted unpinned: container "bad": can't pin ghcr.io/a/missing:1: manifest not found (404); check the image's name and tag`
	if !r.Allowed || len(r.Warnings) != 1 || r.Warnings[0] != warning {
		t.Errorf("allowed %t, warnings %q, want %q", r.Allowed, r.Warnings, warning)
	}
	audit := fmt.Sprintf(`{"fine":"ghcr.io/a/fine:1@%s","good":"ghcr.io/a/good:1@%s"}`, digestOf("ghcr.io/a/fine:1"), digestOf("ghcr.io/a/good:1"))
	if got := r.AuditAnnotations["pins"]; got != audit {
		t.Errorf("audit annotation %s, want %s", got, audit)
	}
	if n := strings.Count(string(r.Patch), `"replace"`); n != 2 {
		t.Errorf("%d images are replaced, want 2: %s", n, r.Patch)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tagpin_admission_references_total" && m.GetCounter().GetValue() > 0 {
				counted[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"enforce notFound": 1, "enforce pinned": 2}; !maps.Equal(counted, want) {
		t.Errorf("counted %v, want %v", counted, want)
	}
}

func TestDryRunNeverDenies(t *testing.T) {
	r := respond(t, policy.Propose, review("CREATE", "apps", "Deployment", fmt.Sprintf(threeImages, "ghcr.io/a/missing:1"), ""))
	if !r.Allowed || !strings.Contains(string(r.Patch), "error: ghcr.io: manifest not found") || strings.Contains(string(r.Patch), "replace") {
		t.Errorf("answer %+v, patch %s", r, r.Patch)
	}
	if !strings.Contains(string(r.Patch), `"path":"/metadata"`) {
		t.Errorf("patch %s, want the object's own metadata alone", r.Patch)
	}
}

// TestInvalidWarns checks the warning about an image that the kubelet will refuse.
func TestInvalidWarns(t *testing.T) {
	r := respond(t, policy.Enforce, review("CREATE", "", "Pod", `{"spec":{"containers":[{"name":"a","image":"nginx:1:2"}]}}`, ""))
	if want := `container "a": the kubelet will refuse this image: invalid image reference "nginx:1:2"`; len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], want) {
		t.Errorf("warnings %q, want %s", r.Warnings, want)
	}
}

// TestWarningLimits checks that the warnings keep the limits of the API server, which would drop
// all of them otherwise.
func TestWarningLimits(t *testing.T) {
	var containers []string
	for i := range 100 {
		containers = append(containers, fmt.Sprintf(`{"name":"c%dü","image":"ghcr.io/a/%s/private:%d"}`, i, strings.Repeat("x", 2*i+1), i))
	}
	object := `{"spec":{"template":{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}}}`
	r := respond(t, policy.Enforce, review("CREATE", "apps", "Deployment", object, ""))
	total := 0
	for _, w := range r.Warnings {
		size := utf8.RuneCountInString(w)
		total += size
		if size > 256 || !utf8.ValidString(w) {
			t.Errorf("a warning of %d characters: %q", size, w)
		}
	}
	if total > 4096 || len(r.Warnings) < 10 {
		t.Errorf("%d warnings of %d characters, want some, of 4096 at most", len(r.Warnings), total)
	}
}

// manyContainers returns a Pod with n containers of one image.
func manyContainers(n int, image string) string {
	containers := make([]string, n)
	for i := range containers {
		containers[i] = fmt.Sprintf(`{"name":"c%04d","image":%q}`, i, image)
	}
	return `{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}`
}

// TestAnswersAreBounded checks that denials and audit annotations have a few kilobytes, however
// many images there are, and say how many are left out.
func TestAnswersAreBounded(t *testing.T) {
	const images = 3000
	r, code := post(t, newHandler(t, policy.Enforce, registry), review("CREATE", "", "Pod", manyContainers(images, "ghcr.io/a/missing:1"), ""))
	if code != http.StatusOK || r.Allowed {
		t.Fatalf("status %d, answer %+v, want it denied", code, r)
	}
	if m := r.Result.Message; len(m) > 5000 || !strings.HasPrefix(m, `container "c0000"`) || !strings.HasSuffix(m, " more") {
		t.Errorf("the denial has %d bytes and ends in %q, want at most 5000, and the number of the rest", len(m), m[len(m)-30:])
	}
	r = respond(t, policy.Enforce, review("CREATE", "", "Pod", manyContainers(images, "nginx"), ""))
	audit := r.AuditAnnotations["pins"]
	var pins map[string]string
	if err := json.Unmarshal([]byte(audit), &pins); err != nil || len(audit) > 11_000 {
		t.Fatalf("the audit annotation has %d bytes, error %v, want at most 11,000", len(audit), err)
	}
	if got, want := pins["…"], fmt.Sprintf("and %d more", images-len(pins)+1); got != want || !strings.HasPrefix(pins["c0000"], "nginx@sha256:") {
		t.Errorf("the audit annotation has %d entries and ends in %q, want %q", len(pins), got, want)
	}
}
