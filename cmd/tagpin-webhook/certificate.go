// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/config"
)

// selfManaged reports whether the server creates its certificate.
func (s *server) selfManaged() bool {
	return !s.options.standalone && s.config.Certificates.Mode == config.SelfManaged
}

// openCertificate reads the certificate in --cert-dir, and returns a function that reads it again
// when it changes. If the certificate is self-managed, it does nothing: the registrar sets it.
func (s *server) openCertificate(source *certificate.Source) (manager.RunnableFunc, error) {
	if s.selfManaged() {
		return func(context.Context) error { return nil }, nil
	}
	files := certificate.Mounted(s.options.certDir)
	leaf, err := files.Look()
	if err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	source.Serve(leaf)
	return func(ctx context.Context) error {
		files.Poll(ctx, source.ServeValid, func(_ *tls.Certificate, err error) {
			if err != nil {
				s.log.Error(err, "certificate refused; the former one stays in use")
			}
		})
		return nil
	}, nil
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
