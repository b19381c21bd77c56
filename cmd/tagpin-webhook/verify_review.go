// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/tagpin/tagpin/pkg/registrar"
)

// pinnedPod is a pod that tagpin leaves as it is without a lookup, since its image has a digest.
const pinnedPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"tagpin-verify"},"spec":` +
	`{"containers":[{"name":"verify","image":"verify.tagpin.dev/none@sha256:` +
	`0000000000000000000000000000000000000000000000000000000000000000"}]}}`

// newUnpinnedPod returns a pod with an image, which is pulled with the given pull secrets.
func newUnpinnedPod(image string, pullSecrets []string) ([]byte, error) {
	pod := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "tagpin-verify"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "verify", Image: image}}},
	}
	for _, name := range pullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets,
			corev1.LocalObjectReference{Name: name})
	}
	return json.Marshal(pod)
}

// newReview returns a review of the creation of a pod, which is not stored.
func newReview(namespace string, pod []byte) *admissionv1.AdmissionReview {
	dryRun := true
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       uuid.NewUUID(),
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Name:      "tagpin-verify",
			Namespace: namespace,
			Operation: admissionv1.Create,
			Object:    runtime.RawExtension{Raw: pod},
			DryRun:    &dryRun,
		},
	}
}

// sendReview sends a review of a pod over a connection, and returns the answer. It returns an error
// if the answer is not one that a working webhook gives to a pod that needs no lookup, or in the
// mode dry-run.
func sendReview(
	ctx context.Context, conn *registrar.Connection, w *admissionregistrationv1.MutatingWebhook,
	pod []byte,
) (*admissionv1.AdmissionResponse, error) {
	target, namespace := reviewTarget(conn, w)
	review := newReview(namespace, pod)
	body, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	answer, err := postReview(ctx, conn, target, body)
	switch {
	case err != nil:
		return nil, err
	case answer.Response == nil || answer.Response.UID != review.Request.UID:
		return nil, errors.New("the answer belongs to no review, so it is not tagpin that answers")
	case !answer.Response.Allowed:
		var message string
		if answer.Response.Result != nil {
			message = answer.Response.Result.Message
		}
		return nil, fmt.Errorf("it was denied: %s", cmp.Or(message, "no reason"))
	}
	return answer.Response, nil
}

// reviewTarget returns the URL that an API server posts reviews to, and the namespace that the
// review is for.
func reviewTarget(
	conn *registrar.Connection, w *admissionregistrationv1.MutatingWebhook,
) (target, namespace string) {
	u := &url.URL{Scheme: "https", Host: conn.Name, Path: "/"}
	namespace = metav1.NamespaceDefault
	if s := w.ClientConfig.Service; s != nil {
		namespace = s.Namespace
		if s.Path != nil {
			u.Path = *s.Path
		}
	} else if parsed, err := url.Parse(*w.ClientConfig.URL); err == nil { // Connect has parsed it too
		u = parsed
	}
	seconds := int32(10)
	if w.TimeoutSeconds != nil {
		seconds = *w.TimeoutSeconds
	}
	u.RawQuery = fmt.Sprintf("timeout=%ds", seconds)
	return u.String(), namespace
}

// maxAnswer bounds an answer of the webhook, in bytes.
const maxAnswer = 1 << 20

// postReview sends a body over a connection and reads the answer.
func postReview(
	ctx context.Context, conn *registrar.Connection, target string, body []byte,
) (*admissionv1.AdmissionReview, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return conn.Conn, nil
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.200s", resp.Status, bytes.TrimSpace(text))
	}
	answer := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("the answer is no AdmissionReview: %w", err)
	}
	return answer, nil
}
