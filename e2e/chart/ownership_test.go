// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// refused runs a version of Helm that must fail with an error that contains want.
func refused(t *testing.T, version, want string, args ...string) {
	t.Helper()
	out, err := helmCommand(t, version, args...).CombinedOutput()
	if !errors.As(err, new(*exec.ExitError)) || !strings.Contains(string(out), want) {
		t.Errorf("helm %s %s = %v, want an error with %q:\n%s",
			version, strings.Join(args, " "), err, want, out)
	}
}

// rulesStay checks that each webhook still has the rules of the server, and the failure policy.
func rulesStay(t *testing.T, when string) {
	t.Helper()
	for _, w := range webhooks(t) {
		if len(w.Rules) != 1 || *w.FailurePolicy != admissionregistrationv1.Fail {
			t.Errorf("%s: %s has %d rules and failurePolicy %s, want 1 and Fail",
				when, w.Name, len(w.Rules), *w.FailurePolicy)
		}
	}
}

// TestManualAndBack changes the registration from managed to manual and back, as the guide says.
// The registration is there all the time, with rules.
func TestManualAndBack(t *testing.T) {
	upgrade := []string{
		"upgrade", "tagpin", deploy + "/chart", "--reset-then-reuse-values",
	}
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart", "--set=certificates.mode=cert-manager")
			defer helm(t, version, "uninstall", "tagpin")
			writeRules(t)
			kubectl(t, "", "annotate", "mutatingwebhookconfiguration", registration, "helm.sh/resource-policy=keep")
			helm(t, version, slices.Concat(upgrade, []string{"--set=registration=manual"})...)
			rulesStay(t, "manual")
			kubectl(t, "", "annotate", "mutatingwebhookconfiguration", registration, "helm.sh/resource-policy-",
				"meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")
			managed := slices.Concat(upgrade, []string{"--set=registration=managed"})
			refused(t, version, "invalid ownership metadata", managed...)
			helm(t, version, slices.Concat(managed, []string{"--take-ownership"})...)
			rulesStay(t, "managed again")
		})
	}
}

// TestEditedRegistration edits the failure policy, as somebody may in an emergency. Helm 4 then
// refuses every upgrade until the registration is deleted, or conflicts are forced.
func TestEditedRegistration(t *testing.T) {
	upgrade := []string{
		"upgrade", "tagpin", deploy + "/chart", "--reset-then-reuse-values", "--set=keepOnly=true",
	}
	edit := func(t *testing.T) {
		t.Helper()
		kubectl(t, "", "patch", "mutatingwebhookconfiguration", registration, "--type=json",
			`--patch=[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`)
	}
	for version := range helms {
		t.Run("helm "+version, func(t *testing.T) {
			helm(t, version, "install", "tagpin", deploy+"/chart")
			defer helm(t, version, "uninstall", "tagpin")
			serve(t)
			edit(t)
			if version == "3" {
				helm(t, version, upgrade...)
				rulesStay(t, "upgraded by Helm 3")
				return
			}
			refused(t, version, "conflict", upgrade...)
			helm(t, version, slices.Concat(upgrade, []string{"--force-conflicts"})...)
			rulesStay(t, "forced")
			edit(t)
			refused(t, version, "conflict", upgrade...)
			kubectl(t, "", "delete", "mutatingwebhookconfiguration", registration)
			helm(t, version, upgrade...)
			serve(t)
			rulesStay(t, "created again")
		})
	}
}
