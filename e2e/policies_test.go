// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// testCase is a row of the table in deploy/policies/testdata.
type testCase struct {
	Image      string
	Exempt     []string
	ShortNames string `json:"shortNames"`
	Allowed    bool
}

// TestPolicyTable has the table that also tests tagpin's own rules and Gatekeeper's.
func TestPolicyTable(t *testing.T) {
	text, err := os.ReadFile("../deploy/policies/testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	if err := sigsyaml.UnmarshalStrict(text, &cases); err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v, want at least 40", len(cases), err)
	}
	byExemption := map[string][]testCase{}
	for _, c := range cases {
		key := strings.Join(append(c.Exempt, c.ShortNames), " ")
		byExemption[key] = append(byExemption[key], c)
	}
	for key, group := range byExemption {
		t.Run(key, func(t *testing.T) {
			installPolicy(t, policyLabel, exempt(t, group[0].Exempt, group[0].ShortNames))
			for _, tt := range group {
				ns := newLabelled(t, policyLabel, "enforce")
				_, err := createPod(t.Context(), ns, barePod(tt.Image))
				if got := err == nil; got != tt.Allowed || err != nil && !deniedByPolicy(err) {
					t.Errorf("%+v: %v, want allowed: %t", tt, err, tt.Allowed)
				}
			}
		})
	}
}

// TestPolicyPlaces has an unpinned reference in each place of each kind. Pods are denied, and other
// objects cause a warning.
func TestPolicyPlaces(t *testing.T) {
	installPolicy(t, policyLabel, nil)
	c, seen := newClient(t)
	pinned := "a@" + digestOf("1")
	for place, change := range map[string]func(*corev1.PodSpec){
		"containers":     func(s *corev1.PodSpec) { s.Containers[0].Image = "a:1" },
		"initContainers": func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "c1", Image: "a:1"}} },
		"volumes":        func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{imageVolume("c1", "a:1")} },
		"nothing":        func(*corev1.PodSpec) {},
	} {
		if place == "volumes" && !env.Has(cluster.ImageVolumes) {
			continue
		}
		for kind, object := range kinds() {
			ns := newLabelled(t, policyLabel, "enforce")
			spec := podSpec(pinned)
			change(&spec)
			o := object(spec)
			o.SetNamespace(ns)
			before := len(seen.String())
			err := c.Create(t.Context(), o)
			warned := seen.String()[before:]
			switch {
			case place == "nothing":
				if err != nil || strings.Contains(warned, "tagpin") {
					t.Errorf("%s, pinned: %v, warnings %q, want neither", kind, err, warned)
				}
			case kind == "Pod":
				if err == nil || !deniedByPolicy(err) {
					t.Errorf("%s with a tag in %s: %v, want a denial", kind, place, err)
				}
			case err != nil || !strings.Contains(warned, "a:1 has no digest"):
				t.Errorf("%s with a tag in %s: %v, warnings %q, want one", kind, place, err, warned)
			}
		}
	}
}

// TestPolicyOnOldObjects has a pod that is older than the policy. The policy ignores references
// that don't change.
func TestPolicyOnOldObjects(t *testing.T) {
	c, _ := newClient(t)
	ns := newLabelled(t, policyLabel, "off")
	pod := kinds()["Pod"](podSpec("a:1", "b@"+digestOf("1"))).(*corev1.Pod)
	pod.Finalizers = []string{"e2e.tagpin.dev/hold"}
	create(t, c, ns, pod)
	installPolicy(t, policyLabel, nil)
	kubectl(t, "", "label", "namespace", ns, policyLabel+"=enforce", "--overwrite")
	poll.Until(t, func(ctx context.Context) error {
		if _, err := createPod(ctx, ns, barePod("a:1")); err == nil {
			return errors.New("the policy is not in force in the namespace")
		}
		return nil
	})
	kubectl(t, "", "-n", ns, "label", "pod", pod.Name, "new=label")
	_, _, err := env.RunKubectl(t.Context(), nil, "-n", ns, "set", "image", "pod/"+pod.Name, "c1=a:2")
	if err == nil || !strings.Contains(err.Error(), "c1: a:2 has no digest") {
		t.Errorf("another tag: %v, want a denial", err)
	}
	debug := func(image string) error {
		_, _, err := env.RunKubectl(t.Context(), nil, "-n", ns, "debug", pod.Name, "--image="+image,
			"--attach=false", "--profile=general", "--container=d"+fmt.Sprint(len(image)))
		return err
	}
	if err := debug("tools:1"); err == nil || !strings.Contains(err.Error(), "tools:1 has no digest") {
		t.Errorf("an ephemeral container with a tag: %v, want a denial", err)
	}
	if err := debug("tools:1@" + digestOf("2")); err != nil {
		t.Errorf("an ephemeral container with a digest: %v", err)
	}
	kubectl(t, "", "-n", ns, "delete", "pod", pod.Name, "--wait=false")
	kubectl(t, "", "-n", ns, "patch", "pod", pod.Name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}

// TestPolicyBehindTagpin has the policy and tagpin. The policy accepts what tagpin has pinned, and
// denies what an injector adds after tagpin.
func TestPolicyBehindTagpin(t *testing.T) {
	installPolicy(t, cluster.ModeLabel, nil)
	c, _ := newClient(t)
	reference, digest := push(t, env.Open, repository(t)+":1")
	ns := newNamespace(t, "enforce")
	for kind, object := range kinds() {
		o := object(podSpec(reference))
		create(t, c, ns, o)
		wantImage(t, kind, specOf(t, o).Containers[0].Image, reference, digest)
	}
	kubectl(t, "", "-n", ns, "debug", "w", "--image="+reference, "--attach=false", "--profile=general")
	sidecar, _ := push(t, env.Open, repository(t)+"-sidecar:1")
	injected := newNamespace(t, "enforce")
	registerInjector(t, "zzz-injector", injected, sidecar)
	poll.Until(t, func(ctx context.Context) error {
		_, err := createPod(ctx, injected, barePod(reference+"@"+digest))
		if err == nil || !strings.Contains(err.Error(), "sidecar: "+sidecar+" has no digest") {
			return fmt.Errorf("a pod whose sidecar is injected after tagpin: %w, want a denial", err)
		}
		return nil
	})
}

// TestPolicyOnPlaceholder has Istio's placeholder, which is allowed in pod templates, but not in
// pods.
func TestPolicyOnPlaceholder(t *testing.T) {
	installPolicy(t, policyLabel, nil)
	c, seen := newClient(t)
	ns := newLabelled(t, policyLabel, "enforce")
	create(t, c, ns, kinds()["Deployment"](podSpec("auto")))
	if warned := seen.String(); strings.Contains(warned, "tagpin") {
		t.Errorf("a Deployment: warnings %q, want none", warned)
	}
	if _, err := dryRun(t.Context(), ns, "auto"); !deniedByPolicy(err) {
		t.Errorf("a Pod: %v, want a denial", err)
	}
}

// TestPolicyOnLargeObjects checks that the policy stays within the cost that the API server allows.
func TestPolicyOnLargeObjects(t *testing.T) {
	installPolicy(t, policyLabel, exempt(t, []string{"docker.io/exempt/*"}, ""))
	c, _ := newClient(t)
	images := map[string]string{"pinned": "a@" + digestOf("1"), "unpinned": "exempt/a"}
	for name, image := range images {
		spec := podSpec(image)
		addContainers(&spec, 1000, image)
		create(t, c, newLabelled(t, policyLabel, "enforce"), kinds()["Deployment"](spec))
		o := kinds()["Pod"](spec)
		o.SetName(name)
		create(t, c, newLabelled(t, policyLabel, "enforce"), o)
	}
}

// TestPolicyOnTooLargeObjects has more containers than the policy can evaluate. It fails closed.
func TestPolicyOnTooLargeObjects(t *testing.T) {
	installPolicy(t, policyLabel, nil)
	c, _ := newClient(t)
	spec := corev1.PodSpec{}
	addContainers(&spec, 40_000, "a")
	o := kinds()["Pod"](spec)
	o.SetNamespace(newLabelled(t, policyLabel, "enforce"))
	err := c.Create(t.Context(), o, client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), "tagpin-digests") {
		t.Errorf("a pod with 40,000 containers: %.300v, want a denial by the policy", err)
	}
}

// TestPolicyOfConfig has the policy that matches a config with an operator in skipOwners. The
// operator's pods are accepted, and those that others create in its name are denied.
func TestPolicyOfConfig(t *testing.T) {
	text, err := env.Manifests(t.Context(), "--print=policy")
	if err != nil {
		t.Fatal(err)
	}
	installPolicyText(t, text, policyLabel, nil)
	for _, tt := range []struct {
		user, apiVersion string
		accepted         bool
	}{
		{"picky", "e2e.tagpin.dev/v1", true},
		{"forger", "e2e.tagpin.dev/v1", false},
		{"picky", "evil.example/v1", false},
	} {
		config := clustertest.Impersonate(env.Config, tt.user, "system:masters")
		as, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		pod := barePod("a:1")
		pod.OwnerReferences = controlledBy(tt.apiVersion, "Picky")
		api := as.CoreV1().Pods(newLabelled(t, policyLabel, "enforce"))
		_, err = api.Create(t.Context(), pod, metav1.CreateOptions{})
		if (err == nil) != tt.accepted || err != nil && !deniedByPolicy(err) {
			t.Errorf("a pod of %s by %s: %v, want accepted: %t", tt.apiVersion, tt.user, err, tt.accepted)
		}
	}
}

// TestPolicyInSystemNamespaces labels a namespace that tagpin never serves. Because tagpin can't
// pin there, the policy must not deny anything.
func TestPolicyInSystemNamespaces(t *testing.T) {
	const ns = "kube-node-lease"
	kubectl(t, "", "label", "namespace", ns, policyLabel+"=enforce", "--overwrite")
	installPolicy(t, policyLabel, nil)
	if _, err := dryRun(t.Context(), ns, "a:1"); deniedByPolicy(err) {
		t.Errorf("a pod in %s: %v, want it accepted", ns, err)
	}
}
