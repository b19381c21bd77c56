// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// policyLabel stands for the label of the mode where the policy is tested without tagpin in front.
const policyLabel = "e2e.tagpin.dev/policy"

// installPolicy installs deploy/policies/policy.yaml, as it is or with changes, for namespaces with
// a label, until the test ends. It returns when the policy that demands digests is in force there.
func installPolicy(
	t *testing.T, label string, change func(*admissionregistrationv1.ValidatingAdmissionPolicy),
) {
	t.Helper()
	text, err := os.ReadFile("../deploy/policies/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	installPolicyText(t, text, label, change)
}

func installPolicyText(
	t *testing.T, text []byte, label string,
	change func(*admissionregistrationv1.ValidatingAdmissionPolicy),
) {
	t.Helper()
	c, _ := newClient(t)
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	ns := newLabelled(t, label, "enforce")
	// The API server learns of a policy, and that it is deleted, some time later. The tests that
	// follow have images without a digest, or another policy of this name.
	t.Cleanup(func() { awaitPolicy(t, ns, false) }) // after the policies are deleted
	for {
		document, err := documents.Read()
		if err != nil {
			break
		}
		var o client.Object
		if strings.Contains(string(document), "kind: ValidatingAdmissionPolicyBinding") {
			b := new(admissionregistrationv1.ValidatingAdmissionPolicyBinding)
			o = b
			if err := sigsyaml.UnmarshalStrict(document, b); err != nil {
				t.Fatal(err)
			}
			b.Spec.MatchResources.NamespaceSelector.MatchExpressions[0].Key = label
		} else {
			p := new(admissionregistrationv1.ValidatingAdmissionPolicy)
			o = p
			if err := sigsyaml.UnmarshalStrict(document, p); err != nil {
				t.Fatal(err)
			}
			if p.Name == "tagpin-digests" { // the one with exemptions
				change(p)
			}
		}
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Delete(context.WithoutCancel(t.Context()), o); err != nil {
				t.Error(err)
			}
		})
	}
	awaitPolicy(t, ns, true)
}

// awaitPolicy waits until the policy that demands digests is in force in a namespace, or is not.
func awaitPolicy(t *testing.T, ns string, inForce bool) {
	t.Helper()
	spec := podSpec("never-pulled.example/a:1") // which tagpin leaves as it is
	spec.Containers[0].ImagePullPolicy = corev1.PullNever
	probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: spec}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	poll.Until(t, func(ctx context.Context) error {
		_, err := env.Client.CoreV1().Pods(ns).Create(ctx, probe, dryRun)
		switch {
		case !inForce, err != nil && !refusedByPolicy(err):
			return err
		case err == nil:
			return errors.New("the policy is not in force")
		}
		return nil
	})
}

// podDryRun tells whether a pod of an image would be taken.
func podDryRun(ctx context.Context, ns, image string) error {
	probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: podSpec(image)}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err := env.Client.CoreV1().Pods(ns).Create(ctx, probe, dryRun)
	return err
}

// testCase is a row of the table.
type testCase struct {
	Image   string
	Exempt  []string
	Allowed bool
}

// TestPolicyTable has the table that tagpin's own rules and Gatekeeper's are tested by.
func TestPolicyTable(t *testing.T) {
	text, err := os.ReadFile("../deploy/policies/testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	if err := sigsyaml.UnmarshalStrict(text, &cases); err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	byExemption := map[string][]testCase{}
	for _, c := range cases {
		key := strings.Join(c.Exempt, " ")
		byExemption[key] = append(byExemption[key], c)
	}
	for _, group := range byExemption {
		t.Run(strings.Join(group[0].Exempt, " "), func(t *testing.T) {
			installPolicy(t, policyLabel, func(p *admissionregistrationv1.ValidatingAdmissionPolicy) { setExemptions(t, p, group[0].Exempt) })
			for _, tt := range group {
				_, err := createPod(t.Context(), newLabelled(t, policyLabel, "enforce"), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: podSpec(tt.Image)})
				if got := err == nil; got != tt.Allowed || err != nil && !refusedByPolicy(err) {
					t.Errorf("%s, exempt %q: %v, want allowed: %t", tt.Image, tt.Exempt, err, tt.Allowed)
				}
			}
		})
	}
}

func setExemptions(t *testing.T, p *admissionregistrationv1.ValidatingAdmissionPolicy, exempt []string) {
	t.Helper()
	list := "[]"
	if len(exempt) > 0 {
		list = "['" + strings.Join(exempt, "', '") + "']"
	}
	if v := &p.Spec.Variables[0]; v.Name == "exemptImages" {
		v.Expression = list
		return
	}
	t.Fatal("the first variable is not the list of exemptions")
}

func refusedByPolicy(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "tagpin-digests") && strings.Contains(err.Error(), "has no digest")
}

// TestPolicyPlaces has an unpinned reference in each place, of each kind: pods are refused, and of workloads is told.
func TestPolicyPlaces(t *testing.T) {
	installPolicy(t, policyLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	c, seen := newClient(t)
	pinned := "a@" + digestOf("1")
	for place, change := range map[string]func(*corev1.PodSpec){
		"containers":     func(s *corev1.PodSpec) { s.Containers[0].Image = "a:1" },
		"initContainers": func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "c1", Image: "a:1"}} },
		"volumes":        func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{imageVolume("c1", "a:1")} },
		"nothing":        func(*corev1.PodSpec) {},
	} {
		for kind, object := range kinds() {
			ns := newLabelled(t, policyLabel, "enforce")
			spec := podSpec(pinned)
			change(&spec)
			o := object(spec)
			o.SetNamespace(ns)
			before := len(seen.String())
			err := c.Create(t.Context(), o)
			told := seen.String()[before:]
			switch {
			case place == "nothing":
				if err != nil || strings.Contains(told, "tagpin") {
					t.Errorf("%s, pinned: %v, %s, want nothing", kind, err, told)
				}
			case kind == "Pod":
				if err == nil || !refusedByPolicy(err) {
					t.Errorf("%s with a tag in %s: %v, want it refused", kind, place, err)
				}
			case err != nil || !strings.Contains(told, "a:1 has no digest"):
				t.Errorf("%s with a tag in %s: %v, told %q, want a warning", kind, place, err, told)
			}
		}
	}
}

// TestPolicyOnOldObjects has pods from before: what stays as it is is not looked at.
func TestPolicyOnOldObjects(t *testing.T) {
	c, _ := newClient(t)
	ns := newLabelled(t, policyLabel, "off")
	pod := kinds()["Pod"](podSpec("a:1", "b@"+digestOf("1"))).(*corev1.Pod)
	pod.Finalizers = []string{"e2e.tagpin.dev/hold"}
	create(t, c, ns, pod)
	installPolicy(t, policyLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	kubectl(t, "", "label", "namespace", ns, policyLabel+"=enforce", "--overwrite")
	poll.Until(t, func(ctx context.Context) error {
		if _, err := createPod(ctx, ns, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: podSpec("a:1")}); err == nil {
			return errors.New("the policy is not in force there")
		}
		return nil
	})
	kubectl(t, "", "-n", ns, "label", "pod", pod.Name, "new=label")
	_, _, err := env.RunKubectl(t.Context(), nil, "-n", ns, "set", "image", "pod/"+pod.Name, "c1=a:2")
	if err == nil || !strings.Contains(err.Error(), "c1: a:2 has no digest") {
		t.Errorf("another tag: %v, want it refused", err)
	}
	debug := func(image string) error {
		_, _, err := env.RunKubectl(t.Context(), nil, "-n", ns, "debug", pod.Name, "--image="+image, "--attach=false", "--profile=general", "--container=d"+fmt.Sprint(len(image)))
		return err
	}
	if err := debug("tools:1"); err == nil || !strings.Contains(err.Error(), "tools:1 has no digest") {
		t.Errorf("an ephemeral container with a tag: %v, want it refused", err)
	}
	if err := debug("tools:1@" + digestOf("2")); err != nil {
		t.Errorf("an ephemeral container with a digest: %v", err)
	}
	kubectl(t, "", "-n", ns, "delete", "pod", pod.Name, "--wait=false")
	kubectl(t, "", "-n", ns, "patch", "pod", pod.Name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}

// TestPolicyBehindTagpin has both: what tagpin has pinned is taken, and what an injector behind it has added is not.
func TestPolicyBehindTagpin(t *testing.T) {
	installPolicy(t, cluster.ModeLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
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
		_, err := createPod(ctx, injected, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: podSpec(reference + "@" + digest)})
		if err == nil || !strings.Contains(err.Error(), "sidecar: "+sidecar+" has no digest") {
			return fmt.Errorf("a sidecar that is injected behind tagpin: %w, want it refused", err)
		}
		return nil
	})
}

// TestPolicyOnPlaceholder has Istio's placeholder: it may stand in a pod template, and in no pod.
func TestPolicyOnPlaceholder(t *testing.T) {
	installPolicy(t, policyLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	c, seen := newClient(t)
	ns := newLabelled(t, policyLabel, "enforce")
	create(t, c, ns, kinds()["Deployment"](podSpec("auto")))
	if told := seen.String(); strings.Contains(told, "tagpin") {
		t.Errorf("a Deployment: told %q, want nothing", told)
	}
	if err := podDryRun(t.Context(), ns, "auto"); !refusedByPolicy(err) {
		t.Errorf("a Pod: %v, want it refused", err)
	}
}

// TestPolicyOnLargeObjects stays within the cost that the API server allows.
func TestPolicyOnLargeObjects(t *testing.T) {
	installPolicy(t, policyLabel, func(p *admissionregistrationv1.ValidatingAdmissionPolicy) {
		setExemptions(t, p, []string{"docker.io/exempt/*"})
	})
	c, _ := newClient(t)
	images := map[string]string{"pinned": "a@" + digestOf("1"), "unpinned": "exempt/a"}
	for name, image := range images {
		spec := podSpec(image)
		for i := range 1000 {
			spec.Containers = append(spec.Containers, corev1.Container{Name: fmt.Sprint("n", i), Image: image})
		}
		create(t, c, newLabelled(t, policyLabel, "enforce"), kinds()["Deployment"](spec))
		o := kinds()["Pod"](spec)
		o.SetName(name)
		create(t, c, newLabelled(t, policyLabel, "enforce"), o)
	}
}

// TestPolicyOnTooLargeObjects has more containers than the policy can look at: it fails closed.
func TestPolicyOnTooLargeObjects(t *testing.T) {
	installPolicy(t, policyLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	c, _ := newClient(t)
	spec := corev1.PodSpec{}
	for i := range 40_000 {
		spec.Containers = append(spec.Containers, corev1.Container{Name: fmt.Sprint("n", i), Image: "a"})
	}
	o := kinds()["Pod"](spec)
	o.SetNamespace(newLabelled(t, policyLabel, "enforce"))
	err := c.Create(t.Context(), o, client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), "tagpin-digests") {
		t.Errorf("a pod of 40,000 containers: %.300v, want it refused by the policy", err)
	}
}

// TestPolicyOfConfig has the policy that goes with the config, which names an operator: what it makes is taken, what others make in
// its name is not.
func TestPolicyOfConfig(t *testing.T) {
	text, err := env.Manifests(t.Context(), "--print=policy")
	if err != nil {
		t.Fatal(err)
	}
	installPolicyText(t, text, policyLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	for _, tt := range []struct {
		user, apiVersion string
		taken            bool
	}{
		{"picky", "e2e.tagpin.dev/v1", true},
		{"forger", "e2e.tagpin.dev/v1", false},
		{"picky", "evil.example/v1", false},
	} {
		config := rest.CopyConfig(env.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: tt.user, Groups: []string{"system:masters"}}
		as, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		controller := true
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: podSpec("a:1")}
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: tt.apiVersion, Kind: "Picky", Name: "p", UID: "u", Controller: &controller}}
		_, err = as.CoreV1().Pods(newLabelled(t, policyLabel, "enforce")).Create(t.Context(), pod, metav1.CreateOptions{})
		if (err == nil) != tt.taken || err != nil && !refusedByPolicy(err) {
			t.Errorf("a pod of %s by %s: %v, want taken: %t", tt.apiVersion, tt.user, err, tt.taken)
		}
	}
}

// TestPolicyInSystemNamespaces labels a namespace that tagpin never serves: what it can't pin is not refused.
func TestPolicyInSystemNamespaces(t *testing.T) {
	const ns = "kube-node-lease"
	kubectl(t, "", "label", "namespace", ns, policyLabel+"=enforce", "--overwrite")
	installPolicy(t, policyLabel, func(*admissionregistrationv1.ValidatingAdmissionPolicy) {})
	if err := podDryRun(t.Context(), ns, "a:1"); refusedByPolicy(err) {
		t.Errorf("a pod in %s: %v, want it taken", ns, err)
	}
}
