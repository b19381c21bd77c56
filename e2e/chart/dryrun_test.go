// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestDryRun gives what helm template makes of every case to the API server: it takes all of it, without a warning, and no field
// is unknown to it. The pods are restricted, as their namespace demands. What both versions of Helm make alike is given once.
func TestDryRun(t *testing.T) {
	for name, file := range cases(t) {
		given := map[string]bool{}
		for version := range helms {
			t.Run(name+"/helm "+version, func(t *testing.T) {
				manifest := helm(t, version, "template", "tagpin", deploy+"/chart", "--values", file)
				manifest = strings.ReplaceAll(manifest, "\n\n---", "\n---") // Helm 4 has a line more
				if given[manifest] {
					return
				}
				given[manifest] = true
				_, stderr := kubectl(t, manifest, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
				err := admit(t, manifest)
				if name == "host-network" { // which restricted pods may not have
					if !strings.Contains(stderr, "hostNetwork=true") || err == nil {
						t.Errorf("a pod on the host's network is taken for restricted: %v, %s", err, stderr)
					}
					return
				}
				if stderr != "" || err != nil {
					t.Errorf("the API server says %s, and of a pod %v, want neither", stderr, err)
				}
			})
		}
	}
}

// admit asks the API server to take a pod of the Deployment in a manifest.
func admit(t *testing.T, manifest string) error {
	t.Helper()
	var deployment appsv1.Deployment
	for document := range strings.SplitSeq(manifest, "\n---") {
		if strings.Contains(document, "\nkind: Deployment\n") {
			if err := yaml.UnmarshalStrict([]byte(document), &deployment); err != nil {
				t.Fatal(err)
			}
		}
	}
	pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}
	pod.GenerateName = "tagpin-"
	pod.Spec.ServiceAccountName = "" // it is not there
	pod.Spec.PriorityClassName = ""
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err := env.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, dryRun)
	return err
}

// TestKustomize does so with deploy/kustomize, and finds what it makes the same as what the chart makes by default.
func TestKustomize(t *testing.T) {
	_, stderr := kubectl(t, "", "apply", "--dry-run=server", "--validate=strict", "-k", deploy+"/kustomize")
	// kubectl finds a namespace that another command made.
	if strings.Contains(stderr, "would violate") || strings.Contains(stderr, "unknown field") {
		t.Errorf("the API server says %s", stderr)
	}
}
