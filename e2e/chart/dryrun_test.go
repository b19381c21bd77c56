// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/clustertest"
)

// TestDryRun applies what helm template makes of each file of values as a dry run. The API server
// accepts it without a warning and knows all fields. The pods are restricted, as their namespace
// requires. If both versions of Helm make the same, it is applied once.
func TestDryRun(t *testing.T) {
	for name, file := range cases(t) {
		applied := map[string]bool{}
		for version := range helms {
			t.Run(name+"/helm "+version, func(t *testing.T) {
				manifest := helm(t, version, "template", "tagpin", deploy+"/chart", "--values", file)
				manifest = strings.ReplaceAll(manifest, "\n\n---", "\n---") // Helm 4 adds a blank line
				if applied[manifest] {
					return
				}
				applied[manifest] = true
				_, stderr := kubectl(t, manifest, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
				err := admit(t, manifest)
				if name == "host-network" { // not allowed in restricted pods
					if !strings.Contains(stderr, "hostNetwork=true") || err == nil {
						t.Errorf("a pod on the host's network counts as restricted: %v, %s", err, stderr)
					}
					return
				}
				if stderr != "" || err != nil {
					t.Errorf("warnings %q, and error %v for a pod, want neither", stderr, err)
				}
			})
		}
	}
}

// admit creates a pod of each of the manifest's Deployments as a dry run.
func admit(t *testing.T, manifest string) error {
	t.Helper()
	var errs []error
	for document := range strings.SplitSeq(manifest, "\n---") {
		if !strings.Contains(document, "\nkind: Deployment\n") {
			continue
		}
		var deployment appsv1.Deployment
		if err := yaml.UnmarshalStrict([]byte(document), &deployment); err != nil {
			t.Fatal(err)
		}
		template := deployment.Spec.Template
		pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		pod.GenerateName = "tagpin-"
		pod.Spec.ServiceAccountName = "" // it does not exist
		pod.Spec.PriorityClassName, pod.Spec.RuntimeClassName = "", nil
		_, err := clustertest.DryRun(t.Context(), env.Client, namespace, pod)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// TestKustomize applies deploy/kustomize as a dry run.
func TestKustomize(t *testing.T) {
	_, stderr := kubectl(t, "", "apply", "--dry-run=server", "--validate=strict", "-k", deploy+"/kustomize")
	// kubectl also warns about the namespace, which another command has created.
	if strings.Contains(stderr, "would violate") || strings.Contains(stderr, "unknown field") {
		t.Errorf("warnings: %s", stderr)
	}
}
