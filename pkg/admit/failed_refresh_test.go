// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
)

// failures has an error for each class.
var failures = map[string]error{
	"notFound":     failure.Errorf(failure.NotFound, "r: manifest not found (404)"),
	"unauthorized": failure.Errorf(failure.Unauthorized, "r: denied (401)"),
	"unavailable":  failure.Errorf(failure.Unavailable, "r: unreachable"),
	"invalid":      failure.Errorf(failure.Invalid, "r: no digest"),
}

// onFailure returns the same policy for every class.
func onFailure(then failure.Action) failure.Actions {
	return failure.Actions{
		failure.NotFound: then, failure.Unauthorized: then,
		failure.Unavailable: then, failure.Invalid: then,
	}
}

// eachFailure runs a test for each class of failure, each policy, and each output. The object was
// created with the digest of "one". The tag has moved to "two" since then, and the registry fails.
func eachFailure(t *testing.T, test func(l *life, then failure.Action)) {
	for class, err := range failures {
		for _, then := range []failure.Action{failure.Deny, failure.Defer, failure.Allow} {
			for _, output := range []policy.Output{policy.TagAndDigest, policy.DigestOnly} {
				t.Run(fmt.Sprint(class, " ", then, " ", output), func(t *testing.T) {
					l := newLife(t, "apps/Deployment")
					l.handler.OnFailure = onFailure(then)
					l.handler.Pinner.Policy.Output = output
					l.send(workloadOf(refresh, "c1", restartedAt, at(1)))
					l.push, l.down = "two", err
					test(l, then)
				})
			}
		}
	}
}

// record returns the recorded value of a marker.
func (l *life) record(marker string) string {
	return annotation.Decode(l.annotations()["tagpin.dev/refreshed"])[marker]
}

// wantKept checks that the last object was allowed with the image from before a refresh that
// failed, and a warning.
func (l *life) wantKept(before string) {
	l.t.Helper()
	if !l.last.Allowed {
		l.t.Fatalf("denied: %s", l.last.Result.Message)
	}
	if got := l.image(); got != before {
		l.t.Errorf("image = %s, want %s", got, before)
	}
	want := "kept at " + digestOf("one").String()[:19] + ": container"
	if len(l.last.Warnings) != 1 || !strings.Contains(l.last.Warnings[0], want) {
		l.t.Errorf("warnings = %q, want one that contains %q", l.last.Warnings, want)
	}
}

// TestFailedRestartKeepsPin checks that a restart keeps the digest if the lookup fails, whatever
// onFailure says: people restart workloads in an incident. The marker is recorded, so that an undo
// to the revision is no refresh.
func TestFailedRestartKeepsPin(t *testing.T) {
	eachFailure(t, func(l *life, _ failure.Action) {
		one := l.image()
		l.mark(restartedAt, at(2))
		l.wantKept(one)
		if got := l.record(restartedAt); got != at(2) {
			l.t.Errorf("recorded restart = %s, want %s", got, at(2))
		}
		kept := l.template()
		l.send(workloadOf(refresh, "c1", restartedAt, at(3))) // a manifest without a digest
		l.wantKept(one)
		l.down = nil
		l.mark(restartedAt, at(4))
		if got, want := l.image(), digestOf("two").String(); !strings.HasSuffix(got, want) {
			l.t.Errorf("the registry is back: image = %s, want %s", got, want)
		}
		two := l.template()
		asked := l.asked
		for _, revision := range []map[string]any{kept, two, kept, two} {
			l.undo(revision)
			if got, want := string(l.encode(l.template())), string(l.encode(revision)); got != want {
				l.t.Errorf("undone: template =\n%s, want\n%s", got, want)
			}
		}
		if l.asked != asked {
			l.t.Errorf("undo with %d lookups, want none", l.asked-asked)
		}
	})
}

// TestFailedRefreshIsDenied checks that a changed tagpin.dev/refresh is denied if the lookup fails,
// even if onFailure defers: admitted with the old digest, the deployment would be lost without
// anybody noticing.
func TestFailedRefreshIsDenied(t *testing.T) {
	eachFailure(t, func(l *life, then failure.Action) {
		if then == failure.Allow {
			return
		}
		for name, send := range map[string]func(){
			"patched":       func() { l.mark(refresh, "c2") },
			"applied":       func() { l.send(workloadOf(refresh, "c2", restartedAt, at(1))) },
			"with restart":  func() { l.send(workloadOf(refresh, "c2", restartedAt, at(2))) },
			"applied again": func() { l.send(workloadOf(refresh, "c2", restartedAt, at(1))) },
		} {
			before := string(l.encode(l.stored))
			send()
			if l.last.Allowed {
				l.t.Fatalf("%s: allowed with %q, want it denied", name, l.last.Warnings)
			}
			want := `container "app": can't refresh r:1: ` + l.down.Error() + "; "
			if got := l.last.Result.Message; !strings.HasPrefix(got, want) {
				l.t.Errorf("%s: message = %q, want %q first", name, got, want)
			}
			if got := string(l.encode(l.stored)); got != before {
				l.t.Errorf("%s: stored =\n%s, want\n%s", name, got, before)
			}
		}
		l.down = nil
		l.send(workloadOf(refresh, "c2", restartedAt, at(1))) // the tool applies it again
		if got, want := l.image(), digestOf("two").String(); !strings.HasSuffix(got, want) {
			l.t.Errorf("the registry is back: image = %s, want %s", got, want)
		}
	})
}

// TestFailedRefreshIsAllowed checks that a refresh that fails keeps the pin and says how to try
// again, if onFailure allows it. The marker is not recorded, because the pin was not resolved for
// it.
func TestFailedRefreshIsAllowed(t *testing.T) {
	eachFailure(t, func(l *life, then failure.Action) {
		if then != failure.Allow {
			return
		}
		one := l.image()
		for _, send := range []func(){
			func() { l.mark(refresh, "c2") },
			func() { l.send(workloadOf(refresh, "c3", restartedAt, at(2))) },
		} {
			send()
			l.wantKept(one)
			const want = "; change tagpin.dev/refresh again later"
			if got := l.last.Warnings[0]; !strings.HasSuffix(got, want) {
				l.t.Errorf("warning = %q, want %q in it", got, want)
			}
			if got := l.record(refresh); got != "c1" {
				l.t.Errorf("recorded refresh = %s, want that of the pin, c1", got)
			}
		}
		if got := l.record(restartedAt); got != at(2) {
			l.t.Errorf("recorded restart = %s, want %s", got, at(2))
		}
		l.down = nil
		l.send(workloadOf(refresh, "c4", restartedAt, at(2)))
		if got, want := l.image(), digestOf("two").String(); !strings.HasSuffix(got, want) {
			l.t.Errorf("the next refresh: image = %s, want %s", got, want)
		}
		if got := l.record(refresh); got != "c4" {
			l.t.Errorf("recorded refresh = %s, want c4", got)
		}
	})
}

// TestFailedRefreshOfUnpinned checks references that have no pin to keep. A restart treats them as
// new ones; a refresh is denied unless onFailure allows it.
func TestFailedRefreshOfUnpinned(t *testing.T) {
	for _, tt := range []struct {
		marker  string
		then    failure.Action
		allowed bool
		message string
	}{
		{restartedAt, failure.Deny, false, `container "app": can't pin r:1: r: unreachable; `},
		{restartedAt, failure.Defer, true, "admitted as it is; its pods wait until the image resolves: "},
		{restartedAt, failure.Allow, true, "admitted unpinned: "},
		{refresh, failure.Deny, false, `container "app": can't pin r:1: r: unreachable; `},
		{refresh, failure.Defer, false, `container "app": can't pin r:1: r: unreachable; `},
		{refresh, failure.Allow, true, "admitted unpinned: "},
	} {
		l := newLife(t, "apps/Deployment")
		l.handler.OnFailure = onFailure(tt.then)
		l.stored = workloadOf() // created before tagpin was installed
		l.down = failures["unavailable"]
		l.mark(tt.marker, at(1))
		message := strings.Join(l.last.Warnings, "\n")
		if l.last.Result != nil {
			message = l.last.Result.Message
		}
		if l.last.Allowed != tt.allowed || !strings.Contains(message, tt.message) {
			t.Errorf("%s, %s: allowed %t, message %q, want %t, %q",
				tt.marker, tt.then, l.last.Allowed, message, tt.allowed, tt.message)
		}
		if l.last.Allowed {
			l.wantImage("no pin is held", "r:1", "")
		}
	}
}

// TestFailedRestartWithNewContainer checks that a container that is added with a restart takes the
// digest that another one keeps for the same text.
func TestFailedRestartWithNewContainer(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf())
	l.push, l.down = "two", failures["notFound"]
	l.change(func(template map[string]any) {
		annotate(template, restartedAt, at(1))
		spec := specOf(template)
		added := map[string]any{"name": "new", "image": "r:1"}
		spec["containers"] = append([]any{added}, spec["containers"].([]any)...)
	})
	if !l.last.Allowed {
		t.Fatalf("denied: %s", l.last.Result.Message)
	}
	l.wantImage("a new container", "r:1", "one")
}

// TestFailedRefreshInDryRunMode checks that the mode dry-run denies nothing, and that the pin
// stays.
func TestFailedRefreshInDryRunMode(t *testing.T) {
	l := newLife(t, "apps/Deployment")
	l.send(workloadOf(refresh, "c1"))
	l.handler.Mode, l.handler.OnFailure = policy.Propose, onFailure(failure.Deny)
	l.push, l.down = "two", failures["notFound"]
	l.send(workloadOf(refresh, "c2"))
	if !l.last.Allowed {
		t.Fatalf("denied: %s", l.last.Result.Message)
	}
	l.wantImage("refreshed in dry-run mode", "r:1", "one")
}

// TestFailedRefreshOfSeveralTemplates checks that each of several pod templates has its own
// restart, and that a refresh of the object is for all of them.
func TestFailedRefreshOfSeveralTemplates(t *testing.T) {
	const key = "/spec/replicatedJobs/%s/template/spec/template/spec:object/tagpin.dev/refresh"
	jobSet := func(marker string, restarted ...string) map[string]any {
		var jobs []any
		for i, name := range []string{"a", "b"} {
			template := map[string]any{"spec": map[string]any{
				"containers": []any{map[string]any{"name": "app", "image": "r/" + name + ":1"}},
			}}
			if i < len(restarted) {
				template["metadata"] = map[string]any{
					"annotations": map[string]any{restartedAt: restarted[i]},
				}
			}
			job := map[string]any{"spec": map[string]any{"template": template}}
			jobs = append(jobs, map[string]any{"name": name, "template": job})
		}
		annotations := map[string]any{refresh: marker}
		return map[string]any{
			"metadata": map[string]any{"annotations": annotations},
			"spec":     map[string]any{"replicatedJobs": jobs},
		}
	}
	l := newLife(t, "jobset.x-k8s.io/JobSet")
	l.send(jobSet("c1"))
	l.push, l.fails = "two", map[string]error{"a": failures["unavailable"]}
	l.send(jobSet("c2"))
	if l.last.Allowed {
		t.Errorf("a refresh of which one template fails: allowed with %q", l.last.Warnings)
	}
	l.send(jobSet("c1", at(1), at(1)))
	got := string(l.encode(l.stored["spec"]))
	a, b := "r/a:1@"+digestOf("one").String(), "r/b:1@"+digestOf("two").String()
	if !l.last.Allowed || !strings.Contains(got, a) || !strings.Contains(got, b) {
		t.Errorf("a restart of which one template fails: allowed %t, spec = %s, want %s and %s",
			l.last.Allowed, got, a, b)
	}
	l.handler.OnFailure, l.push = onFailure(failure.Allow), "three"
	l.send(jobSet("c3", at(1), at(1)))
	metadata := l.stored["metadata"].(map[string]any)["annotations"].(map[string]any)
	recorded := annotation.Decode(metadata["tagpin.dev/refreshed"].(string))
	for name, want := range map[string]string{"a": "c1", "b": "c3"} {
		if got := recorded[fmt.Sprintf(key, name)]; got != want {
			t.Errorf("recorded refresh of %s = %s, want %s, in %v", name, got, want, recorded)
		}
	}
}
