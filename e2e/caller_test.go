// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
)

// All other tests show that the API server's reviews are answered, which shows the certificate that --client-ca asks for.
// Who posts a review without one, as any pod could that reaches the Service, is not heard: an answer would have the digest
// of another namespace's private image.
func TestReviewsOfOthersAreRefused(t *testing.T) {
	for name, certificates := range map[string][]tls.Certificate{"no certificate": nil, "tagpin's own": {serving(t)}} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: env.CA.Pool(), Certificates: certificates, MinVersion: tls.VersionTLS12}}
			t.Cleanup(transport.CloseIdleConnections)
			body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","namespace":"victim"}}`
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, env.Tagpin.URL("enforce"), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := transport.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
				t.Fatalf("an answer: %s", resp.Status)
			}
			if !strings.Contains(err.Error(), "tls: ") {
				t.Errorf("the request failed otherwise than in its TLS handshake: %v", err)
			}
		})
	}
}

// serving is a certificate that another CA than the API server's has signed.
func serving(t *testing.T) tls.Certificate {
	t.Helper()
	leaf, err := env.CA.IssueClient("somebody")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
