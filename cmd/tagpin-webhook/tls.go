// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/chain"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/reload"
)

// selfManaged reports whether the server creates its certificate.
func (s *server) selfManaged() bool {
	return !s.options.standalone && s.config.Certificates.Mode == config.SelfManaged
}

// addCertificate makes source serve the certificate in --cert-dir, which the manager reads again
// when it changes. If the certificate is self-managed, it does nothing: the registrar sets it.
func (s *server) addCertificate(
	mgr manager.Manager, source *certificate.Source, reloads *prometheus.GaugeVec,
) error {
	if s.selfManaged() {
		return nil
	}
	files := certificate.Mounted(s.options.certDir)
	leaf, err := files.Look()
	if err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	source.Serve(leaf)
	return mgr.Add(rereadTLS(certificateFiles, files, source.ServeValid, reloads, s.log))
}

// namespaceFile has the namespace of the pod.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// namespace returns the namespace that the server runs in, or an error if it is needed and not
// known.
func (s *server) namespace() (string, error) {
	text, _ := os.ReadFile(namespaceFile) // only exists in a pod
	namespace := cmp.Or(os.Getenv("POD_NAMESPACE"), strings.TrimSpace(string(text)))
	registered := s.config.Registration.Name != "" && !s.options.standalone
	if namespace == "" && (s.selfManaged() || registered) {
		return "", fmt.Errorf("%w: the namespace that the server runs in is not known: "+
			"set POD_NAMESPACE, which is only unnecessary with certificates.mode mounted and "+
			"no registration.name", errSettings)
	}
	return namespace, nil
}

// webhookTLS returns the TLS settings of the webhook's port. API servers speak HTTP/1.1 to
// webhooks, since HTTP/2 would keep all requests on one replica
// (k8s.io/apiserver/pkg/util/webhook).
//
// With --client-ca, callers must present a certificate that is verified by the CAs in the file. The
// manager reads the file again when it changes, so that CAs can be rotated without a restart.
// crypto/tls does not verify the certificates, because it would do so before they can be bounded.
func (s *server) webhookTLS(
	mgr manager.Manager, source *certificate.Source, reloads *prometheus.GaugeVec,
) (*tls.Config, error) {
	settings := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: source.Get,
	}
	if s.options.clientCA == "" {
		return settings, nil
	}
	files := clientCAs(s.options.clientCA)
	pool, err := files.Look()
	if err != nil {
		return nil, fmt.Errorf("%w: --client-ca: %w", errSettings, err)
	}
	var current atomic.Pointer[x509.CertPool]
	current.Store(pool)
	settings.ClientAuth = tls.RequireAnyClientCert // see VerifyConnection
	settings.VerifyConnection = func(cs tls.ConnectionState) error {
		return chain.Verify(cs.PeerCertificates, x509.VerifyOptions{
			Roots: current.Load(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
	}
	// A caller with a ticket would present the former certificate, even if the CA of that is gone and
	// the caller has a new one. API servers use no tickets (k8s.io/client-go/transport).
	settings.SessionTicketsDisabled = true
	base := settings.Clone()
	settings.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = current.Load() // which callers are told
		return c, nil
	}
	use := func(pool *x509.CertPool) error {
		current.Store(pool)
		return nil
	}
	return settings, mgr.Add(rereadTLS(clientCAFiles, files, use, reloads, s.log))
}

// clientCAs returns the CAs in a file, which are read again every five seconds.
func clientCAs(path string) *reload.Files[*x509.CertPool] {
	return &reload.Files[*x509.CertPool]{
		Paths: []string{path},
		Parse: func(contents [][]byte) (*x509.CertPool, error) {
			return parsePool(path, contents[0])
		},
		Interval: 5 * time.Second,
	}
}

// parsePool parses the CAs in a file.
func parsePool(path string, pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: the file has no PEM certificate", path)
	}
	return pool, nil
}
