// SPDX-License-Identifier: Apache-2.0

package load

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

// webhook answers reviews by a function, and counts its connections.
func webhook(t *testing.T, respond func(w http.ResponseWriter, req *admissionv1.AdmissionRequest)) (*Reviews, *atomic.Int32) {
	t.Helper()
	connections := new(atomic.Int32)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil || req.ProtoMajor != 1 || req.URL.Query().Get("timeout") == "" {
			t.Errorf("review %s %s: %v", req.Proto, req.URL, err)
		}
		respond(w, review.Request)
	}))
	s.EnableHTTP2 = true // an API server asks for none
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos, config.MinVersion = nil, tls.VersionTLS12
	r := NewReviews(s.URL+"/enforce", config, "shop", []string{"a:1", "b:2"})
	t.Cleanup(r.Close)
	return r, connections
}

func answer(t *testing.T, w http.ResponseWriter, response admissionv1.AdmissionResponse) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(admissionv1.AdmissionReview{Response: &response}); err != nil {
		t.Error(err)
	}
}

func TestReviews(t *testing.T) {
	patch := []byte(`[{"op":"replace","path":"/spec/containers/0/image","value":"a:1@sha256:00"}]`)
	for _, tt := range []struct {
		name    string
		respond func(w http.ResponseWriter, req *admissionv1.AdmissionRequest)
		pinned  bool
		err     string
	}{
		{"pinned", func(w http.ResponseWriter, req *admissionv1.AdmissionRequest) {
			answer(t, w, admissionv1.AdmissionResponse{UID: req.UID, Allowed: true, Patch: patch})
		}, true, ""},
		{"unpinned", func(w http.ResponseWriter, req *admissionv1.AdmissionRequest) {
			answer(t, w, admissionv1.AdmissionResponse{UID: req.UID, Allowed: true})
		}, false, ""},
		{"denied", func(w http.ResponseWriter, req *admissionv1.AdmissionRequest) {
			answer(t, w, admissionv1.AdmissionResponse{UID: req.UID})
		}, false, "denied"},
		{"another's answer", func(w http.ResponseWriter, _ *admissionv1.AdmissionRequest) {
			answer(t, w, admissionv1.AdmissionResponse{UID: "other", Allowed: true, Patch: patch})
		}, false, "no answer to load-7"},
		{"no answer", func(w http.ResponseWriter, _ *admissionv1.AdmissionRequest) {
			_, _ = w.Write([]byte("{}"))
		}, false, "no answer to load-7"},
		{"failed", func(w http.ResponseWriter, _ *admissionv1.AdmissionRequest) {
			http.Error(w, "broken", http.StatusInternalServerError)
		}, false, "status 500 Internal Server Error: broken"},
		{"hung up", func(http.ResponseWriter, *admissionv1.AdmissionRequest) {
			panic(http.ErrAbortHandler)
		}, false, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := webhook(t, tt.respond)
			pinned, err := r.Attempt(t.Context(), 7)
			if pinned != tt.pinned || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Attempt = %t, %v, want %t, %q", pinned, err, tt.pinned, tt.err)
			}
		})
	}
}

// TestReviewsKeepConnections asks for each image in turn, over one connection. More callers may make more connections than
// they are, while the first are not there yet.
func TestReviewsKeepConnections(t *testing.T) {
	const n = 100
	first := 0
	r, connections := webhook(t, func(w http.ResponseWriter, req *admissionv1.AdmissionRequest) {
		var pod corev1.Pod
		if err := json.Unmarshal(req.Object.Raw, &pod); err != nil || pod.Name != string(req.UID) || req.Namespace != "shop" || pod.Namespace != "shop" {
			t.Errorf("request %s/%s for %s: %v", req.Namespace, pod.Name, req.UID, err)
		}
		if pod.Spec.Containers[0].Image == "a:1" {
			first++
		}
		answer(t, w, admissionv1.AdmissionResponse{UID: req.UID, Allowed: true, Patch: []byte(pinMark)})
	})
	if result := Start(t.Context(), Options{N: n, AtOnce: 1}, r.Attempt).Wait(); result.Pinned != n || first != n/2 {
		t.Errorf("%s, %d of the first image, want %d pinned, %d of it", result, first, n, n/2)
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("connections = %d, want 1", got)
	}
}
