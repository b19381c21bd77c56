// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/tagpin/tagpin/pkg/policy"
)

// TestMessagesArePrintable checks that no message has a command for a terminal or for what runs a
// pipeline, whatever is in the object: others apply manifests that a tenant wrote.
func TestMessagesArePrintable(t *testing.T) {
	const evil = `\u001b[2J\u202e\u0000\u009b1m##[error]`
	pods := map[string]string{}
	for _, name := range []string{"", "/", "volume/"} {
		for _, image := range []string{"missing", "private", "down", "auto", evil, strings.Repeat("a.", 150) + "b/c"} {
			pods[name+" "+image] = `{"name":"` + name + evil + `","image":"` + image + `"}`
		}
	}
	messages := 0
	check := func(mode policy.Mode, body []byte) {
		t.Helper()
		r := respond(t, mode, body)
		texts := r.Warnings
		if r.Result != nil {
			texts = append(texts, r.Result.Message)
		}
		for _, text := range texts {
			messages++
			not := func(c rune) bool { return !unicode.IsPrint(c) }
			if strings.ContainsFunc(text, not) || strings.Contains(text, "##[") {
				t.Errorf("%s: message %q for %s", mode, text, body)
			}
			if strings.Contains(text, "field") {
				t.Errorf("%s: message %q calls a container a field", mode, text)
			}
		}
	}
	for mode := range allowedIn {
		for _, container := range pods {
			spec := `"spec":{"serviceAccountName":"` + evil + `","containers":[` + container + `]}`
			check(mode, review("CREATE", "", "Pod", `{`+spec+`}`, ""))
			check(mode, review("CREATE", "apps", "Deployment", `{"spec":{"template":{`+spec+`}}}`, ""))
		}
		check(mode, review("CREATE", "apps", "Deployment", `{"`+evil+`":`+strings.Repeat("[", 9999)+`}`, ""))
		check(mode, review("CREATE", evil, evil, `{}`, ""))
	}
	if messages < 3*len(pods) {
		t.Errorf("%d messages, want more", messages)
	}
}

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
