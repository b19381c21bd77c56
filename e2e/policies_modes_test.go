// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

const modePolicies = "../deploy/policies/namespaces.yaml"

// installModePolicies installs deploy/policies/namespaces.yaml until the test ends, and returns
// when it is in force.
func installModePolicies(t *testing.T) {
	t.Helper()
	ns, nobody := newNamespace(t, "off"), as(t, "nobody", "")
	kubectl(t, "", "apply", "-f", modePolicies)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, _, err := env.RunKubectl(ctx, nil, "delete", "-f", modePolicies); err != nil {
			t.Error(err)
		}
		awaitModePolicies(t, ns, nobody, false) // later tests have values that are not modes
	})
	awaitModePolicies(t, ns, nobody, true)
}

// awaitModePolicies waits until both policies are in force, or neither is. The API server learns of
// a policy, and of its deletion, with a delay. nobody is a user who may not set modes.
func awaitModePolicies(t *testing.T, ns string, nobody kubernetes.Interface, inForce bool) {
	t.Helper()
	modes, try := [...]string{`"keep"`, `"dry-run"`}, 0
	poll.Until(t, func(ctx context.Context) error {
		try++ // only a request that changes the label is denied, so each has another value
		values := setMode(ctx, env.Client, ns, fmt.Sprintf(`"x%d"`, try), "")
		setters := setMode(ctx, nobody, ns, modes[try%len(modes)], "")
		switch {
		case !inForce:
			return errors.Join(values, setters)
		case values == nil || setters == nil:
			return errors.New("the policies are not in force")
		}
		return nil
	})
}

// as returns a client of a user who may create and change namespaces. more is another rule of the
// user's role, in YAML.
func as(t *testing.T, user, more string) kubernetes.Interface {
	t.Helper()
	name := strings.ToLower(t.Name()) + "-" + user
	kubectl(t, fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s}
rules:
- {apiGroups: [""], resources: [namespaces, namespaces/status], verbs: [create, patch]}
%[3]s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[2]s}]
`, name, user, more), "apply", "-f", "-")
	c, err := kubernetes.NewForConfig(clustertest.Impersonate(env.Config, user))
	if err != nil {
		t.Fatal(err)
	}
	ns := newLabelled(t, "e2e.tagpin.dev/probe", "x")
	poll.Until(t, func(ctx context.Context) error { // the authorizer learns of roles with a delay
		return label(ctx, c, ns, "e2e.tagpin.dev/probe", `"y"`, "")
	})
	return c
}

// label sets a label of a namespace to a value in JSON, through a subresource if it is not empty.
func label(ctx context.Context, c kubernetes.Interface, ns, key, value, subresource string) error {
	var subresources []string
	if subresource != "" {
		subresources = append(subresources, subresource)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, key, value)
	api := c.CoreV1().Namespaces()
	_, err := api.Patch(ctx, ns, types.MergePatchType, patch, metav1.PatchOptions{}, subresources...)
	return err
}

func createNamespace(ctx context.Context, c kubernetes.Interface, labels map[string]string) error {
	o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: labels}}
	_, err := c.CoreV1().Namespaces().Create(ctx, o, metav1.CreateOptions{})
	return err
}

func setMode(ctx context.Context, c kubernetes.Interface, ns, value, subresource string) error {
	return label(ctx, c, ns, cluster.ModeLabel, value, subresource)
}

// TestModeValues has values of the label that are not modes. They are denied, with a list of the
// modes. An older namespace with such a value can still be changed otherwise, and a command finds
// it.
func TestModeValues(t *testing.T) {
	before := newNamespace(t, "Enforce")
	installModePolicies(t)
	ns := newNamespace(t, "off")
	for _, mode := range []string{"enforce", "dry-run", "keep", "off"} {
		if err := setMode(t.Context(), env.Client, ns, `"`+mode+`"`, ""); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	if err := setMode(t.Context(), env.Client, ns, "null", ""); err != nil {
		t.Errorf("without the label: %v", err)
	}
	for _, mode := range []string{"Enforce", "dryrun", "on", ""} {
		for _, subresource := range []string{"", "status"} {
			err := setMode(t.Context(), env.Client, ns, `"`+mode+`"`, subresource)
			if err == nil || !strings.Contains(err.Error(), "write enforce, dry-run, keep or off") {
				t.Errorf("%q through the subresource %q: %v, want a denial with the modes", mode, subresource, err)
			}
		}
	}
	on := map[string]string{cluster.ModeLabel: "on"}
	if err := createNamespace(t.Context(), env.Client, on); err == nil {
		t.Error("a new namespace with an unknown mode is accepted")
	}
	if err := label(t.Context(), env.Client, before, "new", `"label"`, ""); err != nil {
		t.Errorf("another label beside an old value: %v", err)
	}
	unknown := kubectl(t, "", "get", "namespaces", "-o", "name", "-l",
		"tagpin.dev/mode,tagpin.dev/mode notin (enforce,dry-run,keep,off)")
	if !strings.Contains(unknown, before) || strings.Contains(unknown, ns) {
		t.Errorf("namespaces with an unknown mode: %s, want %s, and not %s", unknown, before, ns)
	}
}

// TestModeSetters has users who may change namespaces. Only those who may also set modes can change
// the label.
func TestModeSetters(t *testing.T) {
	installModePolicies(t)
	ns, other := newNamespace(t, "enforce"), newNamespace(t, "enforce")
	may := func(verbs string) string {
		return "- {apiGroups: [tagpin.dev], resources: [modes], " + verbs + "verbs: [set]}"
	}
	tenant, all := as(t, "tenant", ""), as(t, "setter", may(""))
	stricter := as(t, "stricter", may("resourceNames: [enforce], "))
	local := as(t, "local", "")
	kubectl(t, "", "-n", ns, "create", "rolebinding", "local",
		"--clusterrole=tagpin-set-modes", "--user=local")
	poll.Until(t, func(ctx context.Context) error { return setMode(ctx, local, ns, `"dry-run"`, "") })
	const denied = "may not set tagpin.dev/mode to"
	for _, tt := range []struct {
		name        string
		client      kubernetes.Interface
		ns, value   string
		subresource string
		accepted    bool
	}{
		{"a tenant", tenant, ns, `"off"`, "", false},
		{"a tenant, through the status", tenant, ns, `"off"`, "status", false},
		{"a tenant, who removes the label", tenant, ns, `null`, "", false},
		{"a setter", all, ns, `"keep"`, "", true},
		{"a setter, who removes the label", all, ns, `null`, "", true},
		{"a setter of enforce", stricter, ns, `"enforce"`, "", true},
		{"a setter of enforce, of another mode", stricter, ns, `"off"`, "", false},
		{"a setter of one namespace", local, ns, `"keep"`, "", true},
		{"a setter of one namespace, in another", local, other, `"keep"`, "", false},
	} {
		err := setMode(t.Context(), tt.client, tt.ns, tt.value, tt.subresource)
		if (err == nil) != tt.accepted || err != nil && !strings.Contains(err.Error(), denied) {
			t.Errorf("%s: %v, want accepted: %t", tt.name, err, tt.accepted)
		}
	}
	if err := label(t.Context(), tenant, ns, "new", `"label"`, ""); err != nil {
		t.Errorf("another label: %v", err)
	}
	off := map[string]string{cluster.ModeLabel: "off"}
	if err := createNamespace(t.Context(), tenant, off); err == nil {
		t.Error("a new namespace with a mode is accepted from a user who may not set modes")
	}
	if err := createNamespace(t.Context(), tenant, nil); err != nil {
		t.Errorf("a new namespace without a mode: %v", err)
	}
}
