// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Reviews posts AdmissionReviews to a webhook without an API server between, and like one: over HTTP/1.1 connections that
// are kept, as many as admissions are under way.
type Reviews struct {
	URL       string // with the path of a mode
	Namespace string
	Images    []string // in turn

	transport *http.Transport
}

// NewReviews makes one whose connections Close ends.
func NewReviews(url string, config *tls.Config, namespace string, images []string) *Reviews {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &Reviews{URL: url, Namespace: namespace, Images: images, transport: &http.Transport{
		TLSClientConfig: config, Protocols: protocols, MaxIdleConnsPerHost: 1 << 10, IdleConnTimeout: 90 * time.Second,
	}}
}

// Close ends the connections.
func (r *Reviews) Close() { r.transport.CloseIdleConnections() }

// Attempt is for Start.
func (r *Reviews) Attempt(ctx context.Context, i int) (pinned bool, err error) {
	uid := types.UID(fmt.Sprintf("load-%d", i))
	body, err := r.review(uid, i)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err
	}
	var answer admissionv1.AdmissionReview
	switch err := json.Unmarshal(text, &answer); {
	case resp.StatusCode != http.StatusOK:
		return false, fmt.Errorf("status %s: %.200s", resp.Status, text)
	case err != nil:
		return false, err
	case answer.Response == nil || answer.Response.UID != uid:
		return false, fmt.Errorf("no answer to %s: %.200s", uid, text)
	case !answer.Response.Allowed:
		return false, fmt.Errorf("denied: %.500s", answer.Response.Result)
	}
	return strings.Contains(string(answer.Response.Patch), pinMark), nil
}

func (r *Reviews) review(uid types.UID, i int) ([]byte, error) {
	pod := newPod(i, r.Images)
	pod.Namespace = r.Namespace
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	dryRun := true
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uid, Operation: admissionv1.Create, Namespace: r.Namespace, Name: pod.Name, DryRun: &dryRun,
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: raw},
		},
	})
}
