// SPDX-License-Identifier: Apache-2.0

package istio

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// native is the annotation by which Istio adds its proxy as a native sidecar.
const native = "sidecar.istio.io/nativeSidecar"

// The names of Istio's containers.
const (
	sidecar   = "istio-proxy"
	setupInit = "istio-init"
)

// mesh is a namespace to whose pods Istio adds its proxy.
type mesh struct {
	*neighbours.Space
	t *testing.T
}

// newMesh creates a namespace, and pushes Istio's proxy. One of Istio's other registrations counts
// there if the namespace has a value of their label.
func newMesh(t *testing.T, registration string) (m *mesh, proxyImage, digest string) {
	t.Helper()
	proxyImage, digest = pushProxy(t)
	m = &mesh{env.NewSpace(t), t}
	labels := []string{"istio-injection=enabled"}
	if registration != "" {
		labels = append(labels, label+"="+registration)
	}
	m.Kubectl("", append([]string{"label", "namespace", m.Name}, labels...)...)
	m.awaitInjection(true)
	return m, proxyImage, digest
}

// awaitInjection waits until Istio adds its proxy to new pods, or until it does not.
func (m *mesh) awaitInjection(wanted bool) {
	m.t.Helper()
	m.Eventually("the injection", func(ctx context.Context) error {
		pod := clustertest.Pod("a", "a@sha256:"+strings.Repeat("1", 64))
		pod, err := clustertest.DryRun(ctx, env.Client, m.Name, pod)
		if err != nil {
			return err
		}
		if images := imagesOf(pod); (images[sidecar] != "") != wanted {
			return fmt.Errorf("a new pod has the images %v", images)
		}
		return nil
	})
}

// pushProxy pushes a new image of Istio's proxy. No test may run at the same time.
func pushProxy(t *testing.T) (reference, digest string) {
	t.Helper()
	return clustertest.Push(t, env.Open, proxy+":"+proxyTag)
}

// imagesOf returns a pod's images by the names of the containers.
func imagesOf(pod *corev1.Pod) map[string]string {
	images := map[string]string{}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			images[list[i].Name] = list[i].Image
		}
	}
	return images
}

// wantPods waits until there are two pods with these images by the names of their containers.
func (m *mesh) wantPods(when string, want map[string]string) {
	m.t.Helper()
	m.Eventually("the pods "+when, func(ctx context.Context) error {
		list, err := env.Client.CoreV1().Pods(m.Name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		count := 0
		for i := range list.Items {
			p := &list.Items[i]
			if p.DeletionTimestamp != nil {
				continue
			}
			count++
			if got := imagesOf(p); !maps.Equal(got, want) {
				return fmt.Errorf("a pod has %v, want %v", got, want)
			}
		}
		if count != 2 {
			return fmt.Errorf("%d pods, want 2", count)
		}
		return nil
	})
}

// injected returns the images of a pod with Istio's containers.
func injected(app, proxyImage string) map[string]string {
	return map[string]string{"app": app, sidecar: proxyImage, setupInit: proxyImage}
}

// TestMovedTag moves the tag of Istio's proxy.
func TestMovedTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Pods of a Deployment get Istio's proxy, as a native sidecar or as a container. Both tags move, and a pod is deleted. Then the Deployment is restarted.",
		Result: "tagpin pins Istio's containers in each pod, and leaves the Deployment as it is. The new pod has the digests of the other one, also for the proxy. The restart runs what both tags name then.",
	})
	for _, isNative := range []string{"true", "false"} {
		m, proxyImage, first := newMesh(t, "")
		image, digest := m.Push("1")
		m.Apply(neighbours.DeploymentManifest(image, fmt.Sprintf("%s: %q", native, isNative)))
		m.wantPods("created", injected(image+"@"+digest, proxyImage+"@"+first))
		m.wantNative(isNative == "true")
		_, secondProxy := pushProxy(t)
		_, second := m.Push("1")
		m.Kubectl("", "delete", strings.Fields(m.Kubectl("", "get", "pods", "-o", "name"))[0])
		m.wantPods("after one was deleted", injected(image+"@"+digest, proxyImage+"@"+first))
		m.WantDeployment("a pod was deleted", image+"@"+digest, 1, 1)
		m.Kubectl("", "rollout", "restart", "deployment/web")
		m.RolledOut("deployment/web")
		m.wantPods("restarted", injected(image+"@"+second, proxyImage+"@"+secondProxy))
		m.WantDeployment("restarted", image+"@"+second, 2, 2)
	}
}

// wantNative checks whether the proxy of the pods is a native sidecar.
func (m *mesh) wantNative(want bool) {
	m.t.Helper()
	list, err := env.Client.CoreV1().Pods(m.Name).List(m.t.Context(), metav1.ListOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	for i := range list.Items {
		got := false
		for _, c := range list.Items[i].Spec.InitContainers {
			got = got || c.Name == sidecar && c.RestartPolicy != nil
		}
		if got != want {
			m.t.Errorf("the proxy of %s is a native sidecar: %t, want %t", list.Items[i].Name, got, want)
		}
	}
}

// TestReinvocation has a registration of Istio that is called again after tagpin.
func TestReinvocation(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Istio's registration has `reinvocationPolicy: IfNeeded`. A Pod with a digest, and one with a tag, are created.",
		Result: "Istio removes the digest of its proxy once more, and tagpin is called once more. There it ends, and all containers are pinned.",
	})
	m, proxyImage, first := newMesh(t, again)
	image, digest := m.Push("1")
	for _, text := range []string{image, image + "@" + digest} {
		before := clustertest.Metric(t, env.Tagpin, "tagpin_admission_reviews_total")
		m.wantCreated(text, injected(image+"@"+digest, proxyImage+"@"+first))
		calls := clustertest.Metric(t, env.Tagpin, "tagpin_admission_reviews_total") - before
		if calls != 2 {
			t.Errorf("a pod with the image %s: tagpin was called %v times, want 2", text, calls)
		}
	}
}

// create creates a Pod as a dry run and returns its images.
func (m *mesh) create(name, image string) (map[string]string, error) {
	m.t.Helper()
	pod, err := clustertest.DryRun(m.t.Context(), env.Client, m.Name, clustertest.Pod(name, image))
	if err != nil {
		return nil, err
	}
	return imagesOf(pod), nil
}

// wantCreated creates a Pod as a dry run and compares its images.
func (m *mesh) wantCreated(image string, want map[string]string) {
	m.t.Helper()
	if got, err := m.create("a", image); err != nil || !maps.Equal(got, want) {
		m.t.Errorf("a pod with the image %s has %v, %v, want %v", image, got, err, want)
	}
}

// TestLate has a registration of Istio that sorts after tagpin's.
func TestLate(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Istio's registration has a name that sorts after `zz-tagpin`. A Pod with a tag, and one with a digest, are created.",
		Result:   "The proxy of the first Pod has a digest, since tagpin is called again after Istio. tagpin is not called for the second Pod, and **its proxy has no digest**.",
		Settings: "Keep Istio's names, which sort before `zz-tagpin`.",
	})
	m, proxyImage, first := newMesh(t, late)
	image, digest := m.Push("1")
	for text, want := range map[string]string{
		image: proxyImage + "@" + first, image + "@" + digest: proxyImage,
	} {
		m.wantCreated(text, injected(image+"@"+digest, want))
	}
}

// TestGateway has a Deployment whose image Istio fills in.
func TestGateway(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Deployment is a gateway of Istio: it has the image `auto` and the template `gateway`. Istio's tag moves, and a pod is deleted.",
		Result: "The Deployment keeps the image `auto`. Istio fills in its proxy in the pods, and tagpin pins that. The new pod has the digest of the other one.",
	})
	m, proxyImage, first := newMesh(t, "")
	manifest := neighbours.DeploymentManifest("auto", "inject.istio.io/templates: gateway")
	m.Apply(strings.Replace(manifest, "name: app,", "name: "+sidecar+",", 1))
	want := map[string]string{sidecar: proxyImage + "@" + first}
	m.wantPods("created", want)
	pushProxy(t)
	m.Kubectl("", "delete", strings.Fields(m.Kubectl("", "get", "pods", "-o", "name"))[0])
	m.wantPods("after one was deleted", want)
	m.WantDeployment("a pod was deleted", "auto", 1, 1)
}

// TestMissing has a proxy whose image is not in the registry.
func TestMissing(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Pod names a proxy by the annotation `sidecar.istio.io/proxyImage` that is not in the registry.",
		Result: "tagpin denies it, and names Istio's container.",
	})
	m, _, _ := newMesh(t, "")
	image, _ := m.Push("1")
	pod := clustertest.Pod("a", image)
	missing := strings.TrimSuffix(image, "1") + "missing"
	pod.Annotations = map[string]string{"sidecar.istio.io/proxyImage": missing}
	_, err := clustertest.DryRun(t.Context(), env.Client, m.Name, pod)
	if text := fmt.Sprint(err); !strings.Contains(text, sidecar) || !strings.Contains(text, missing) {
		t.Errorf("creating the pod: %v, want a denial that names %s and %s", err, sidecar, missing)
	}
}

// TestRemoval removes Istio from a namespace, and then tagpin.
func TestRemoval(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The namespace loses the label `istio-injection`, and its pods are deleted. It gets the label back, loses `tagpin.dev/mode`, and its pods are deleted again.",
		Result: "Without Istio, the pods have the digest of the Deployment. Without tagpin, the proxy has its tag, and the Deployment and its pods keep their digest.",
	})
	m, proxyImage, first := newMesh(t, "")
	image, digest := m.Push("1")
	m.Apply(neighbours.DeploymentManifest(image, native+": \"true\""))
	m.wantPods("created", injected(image+"@"+digest, proxyImage+"@"+first))
	m.Kubectl("", "label", "namespace", m.Name, "istio-injection-")
	m.awaitInjection(false)
	m.Kubectl("", "delete", "pods", "--all")
	m.wantPods("without Istio", map[string]string{"app": image + "@" + digest})
	m.Kubectl("", "label", "namespace", m.Name, "istio-injection=enabled", "tagpin.dev/mode-")
	m.awaitInjection(true)
	m.Eventually("tagpin to be off", func(context.Context) error {
		got, err := m.create("a", image)
		if err == nil && got["app"] != image {
			err = fmt.Errorf("a new pod has %v", got)
		}
		return err
	})
	m.Kubectl("", "delete", "pods", "--all")
	m.wantPods("without tagpin", injected(image+"@"+digest, proxyImage))
	m.WantDeployment("without tagpin", image+"@"+digest, 1, 1)
}
