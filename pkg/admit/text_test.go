// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/policy"
)

// TestLongWarning checks that a warning about a long image says first what became of the object,
// has the registry once, the ends of the image and the cause, and what to do.
func TestLongWarning(t *testing.T) {
	const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	image := host + "/platform-engineering/payment-services/settlement-reconciliation-worker/private:2026-01-02-0123456789abcdef"
	object := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"settlement-reconciliation-worker","image":%q}]}}}}`, image)
	r := respond(t, policy.Enforce, review("CREATE", "apps", "Deployment", object, ""))
	if len(r.Warnings) != 1 {
		t.Fatalf("warnings = %q, want one", r.Warnings)
	}
	w := r.Warnings[0]
	if !strings.HasPrefix(w, `admitted as it is; its pods wait until the image resolves: container "settlement-reconciliation-worker": can't pin 123456789012.`) {
		t.Errorf("warning = %s, want what became of the object first", w)
	}
	for _, want := range []string{"…", "0123456789abcdef: denied (401); check the image's name"} {
		if !strings.Contains(w, want) {
			t.Errorf("warning = %s, want %s in it", w, want)
		}
	}
	if n := strings.Count(w, "123456789012."); n != 1 {
		t.Errorf("warning = %s, which has the registry %d times", w, n)
	}
	if n := len([]rune(w)); n > 256 {
		t.Errorf("warning = %s of %d characters, want 256 at most", w, n)
	}
}
