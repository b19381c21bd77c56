// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/poll"
)

// injector is a webhook that adds a container to pods that lack it, as service meshes do.
type injector struct{ image string }

// ServeHTTP answers a review.
func (i injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(pod *corev1.Pod) string {
		if sidecarOf(pod) != "" {
			return ""
		}
		return `[{"op":"add","path":"/spec/containers/-",
			"value":{"name":"sidecar","image":"` + i.image + `"}}]`
	})
}

// answer answers the review of a pod with a JSON patch, or without one if it is empty.
func answer(w http.ResponseWriter, r *http.Request, patch func(*corev1.Pod) string) {
	var review admissionv1.AdmissionReview
	var pod corev1.Pod
	err := json.NewDecoder(r.Body).Decode(&review)
	if err == nil {
		err = json.Unmarshal(review.Request.Object.Raw, &pod)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if text := patch(&pod); text != "" {
		patchType := admissionv1.PatchTypeJSONPatch
		review.Response.PatchType = &patchType
		review.Response.Patch = []byte(text)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // it fails only if the connection does
}

// sidecarOf returns the image of the injected container.
func sidecarOf(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == "sidecar" {
			return c.Image
		}
	}
	return ""
}

// installInjector registers an injector for a namespace until the test ends, and returns when it is
// in force.
func installInjector(t *testing.T, name, ns, image string) {
	t.Helper()
	registerInjector(t, name, ns, image)
	poll.Until(t, func(ctx context.Context) error {
		o, err := dryRun(ctx, ns, "a@"+digestOf("1"))
		if err == nil && sidecarOf(o) == "" {
			err = errors.New("the injector is not in force")
		}
		return err
	})
}

func registerInjector(t *testing.T, name, ns, image string) {
	t.Helper()
	registerWebhook(t, name, ns, injector{image})
}

// registerWebhook registers a webhook for the pods of a namespace until the test ends.
func registerWebhook(t *testing.T, name, ns string, h http.Handler) {
	t.Helper()
	url := serveTLS(t, h)
	none := admissionregistrationv1.SideEffectClassNone
	ifNeeded := admissionregistrationv1.IfNeededReinvocationPolicy
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "injector.e2e.tagpin.dev", AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: env.CA.PEM},
			SideEffects:  &none, ReinvocationPolicy: &ifNeeded,
			NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns},
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				},
			}},
		}},
	}
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := api.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteWebhook(t, name) })
}

// TestInjector pins what injectors add: always if they run before tagpin, and if they run after it,
// only if tagpin was called for the pod. tagpin is not called for a pod that its author has pinned.
func TestInjector(t *testing.T) {
	c, _ := newClient(t)
	repository := repository(t)
	reference, digest := push(t, env.Open, repository+":1")
	sidecar, sidecarDigest := push(t, env.Open, repository+"-sidecar:1")
	for _, tt := range []struct {
		name, injector, image string
		pinned                bool
	}{
		{"before", "a-injector", reference, true},
		{"before, of a pinned pod", "a-injector", reference + "@" + digest, true},
		{"after", "zzz-injector", reference, true},
		{"after, of a pinned pod", "zzz-injector", reference + "@" + digest, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := newNamespace(t, "enforce")
			installInjector(t, tt.injector, ns, sidecar)
			asked := env.Open.Lookups(repository)
			pod := kinds()["Pod"](podSpec(tt.image)).(*corev1.Pod)
			create(t, c, ns, pod)
			wantImage(t, "image", pod.Spec.Containers[0].Image, reference, digest)
			if got := env.Open.Lookups(repository) - asked; got > 1 || got == 1 && tt.image != reference {
				t.Errorf("%d lookups for the other container, want at most one, and none if it is pinned", got)
			}
			want := sidecar
			if tt.pinned {
				want += "@" + sidecarDigest
			}
			if got := sidecarOf(pod); got != want {
				t.Errorf("sidecar = %s, want %s", got, want)
			}
		})
	}
}
