// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tagpin/tagpin/e2e/pki"
)

// These files make the API server present a client certificate to webhooks, which tagpin's flag
// --client-ca requires, as deploy/README.md says. The webhook has another port in each run, so the
// kubeconfig's user is "*".
const (
	admissionConfiguration = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: MutatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: %q
`
	callerKubeconfig = `apiVersion: v1
kind: Config
users:
- name: "*"
  user: {client-certificate: %q, client-key: %q}
`
)

// callerFiles writes these files, with a certificate of their own CA, and returns the path of the
// AdmissionConfiguration.
func (c *Cluster) callerFiles() (string, error) {
	ca, err := pki.New()
	if err != nil {
		return "", err
	}
	leaf, err := ca.IssueClient("kube-apiserver")
	if err != nil {
		return "", err
	}
	cert, key := filepath.Join(c.dir, "caller.crt"), filepath.Join(c.dir, "caller.key")
	kubeconfig := filepath.Join(c.dir, "caller.kubeconfig")
	admission := filepath.Join(c.dir, "admission.yaml")
	return admission, errors.Join(
		os.WriteFile(c.clientCAFile(), ca.PEM, 0o600),
		os.WriteFile(cert, leaf.CertPEM, 0o600),
		os.WriteFile(key, leaf.KeyPEM, 0o600),
		os.WriteFile(kubeconfig, fmt.Appendf(nil, callerKubeconfig, cert, key), 0o600),
		os.WriteFile(admission, fmt.Appendf(nil, admissionConfiguration, kubeconfig), 0o600),
	)
}

func (c *Cluster) clientCAFile() string { return filepath.Join(c.dir, "caller-ca.crt") }

// URL returns the URL that the registration has for a mode. It refuses clients without a
// certificate of the API server's CA.
func (t *Tagpin) URL(mode string) string { return "https://" + t.address + "/" + mode }
