// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/e2e/poll"
)

// completer is a webhook that replaces Istio's placeholder by an image, as Istio's webhook does.
type completer struct{ image string }

// ServeHTTP answers a review.
func (c completer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(pod *corev1.Pod) string {
		if pod.Spec.Containers[0].Image != "auto" {
			return ""
		}
		return `[{"op":"replace","path":"/spec/containers/0/image","value":"` + c.image + `"}]`
	})
}

// TestPlaceholder has Istio's placeholder in Pods. The image that Istio's webhook puts in its place
// is pinned. If no webhook has replaced the placeholder, the Pod is denied, because the kubelet
// would pull the image auto from Docker Hub.
func TestPlaceholder(t *testing.T) {
	reference, digest := push(t, env.Open, repository(t)+":1")
	ns := newNamespace(t, "enforce")
	const denied = `container "c0": no injector has replaced the placeholder auto`
	_, err := dryRun(t.Context(), ns, "auto")
	if err == nil || !strings.Contains(err.Error(), denied) {
		t.Errorf("without an injector: %v, want %s", err, denied)
	}
	registerWebhook(t, "istio-sidecar-injector", ns, completer{reference})
	var image string
	poll.Until(t, func(ctx context.Context) (err error) {
		image, err = createPod(ctx, ns, barePod("auto"))
		return err
	})
	wantImage(t, "injected image", image, reference, digest)
}
