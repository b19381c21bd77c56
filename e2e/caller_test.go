// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
)

// TestReviewsOfOthersAreRefused posts reviews without the client certificate that --client-ca
// requires, as any pod could that reaches the Service. They must be refused, because an answer
// could reveal the digest of another namespace's private image. The other tests show that the API
// server's own reviews are answered.
func TestReviewsOfOthersAreRefused(t *testing.T) {
	for name, certificates := range map[string][]tls.Certificate{
		"no certificate": nil, "another CA": {foreignCertificate(t)},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{
				RootCAs: env.CA.Pool(), Certificates: certificates, MinVersion: tls.VersionTLS12,
			}
			transport := &http.Transport{TLSClientConfig: config}
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
				t.Fatalf("answer = %s, want none", resp.Status)
			}
			if !strings.Contains(err.Error(), "tls: ") {
				t.Errorf("error = %v, want one of the TLS handshake", err)
			}
		})
	}
}

// foreignCertificate returns a client certificate of another CA than the API server's.
func foreignCertificate(t *testing.T) tls.Certificate {
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
