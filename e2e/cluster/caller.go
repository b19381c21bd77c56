// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tagpin/tagpin/e2e/pki"
)

// The API server shows webhooks a certificate, which tagpin's --client-ca asks for, as deploy/README.md says: these are its
// AdmissionConfiguration and its kubeconfig. Here the webhook has another port in each run, so that the user's name is *.
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

// callerFiles writes them, with a certificate of a CA of its own, and returns the path of the AdmissionConfiguration.
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
	kubeconfig, admission := filepath.Join(c.dir, "caller.kubeconfig"), filepath.Join(c.dir, "admission.yaml")
	return admission, errors.Join(
		os.WriteFile(c.clientCAFile(), ca.PEM, 0o600),
		os.WriteFile(cert, leaf.CertPEM, 0o600),
		os.WriteFile(key, leaf.KeyPEM, 0o600),
		os.WriteFile(kubeconfig, fmt.Appendf(nil, callerKubeconfig, cert, key), 0o600),
		os.WriteFile(admission, fmt.Appendf(nil, admissionConfiguration, kubeconfig), 0o600),
	)
}

func (c *Cluster) clientCAFile() string { return filepath.Join(c.dir, "caller-ca.crt") }

// URL is what the registration calls for a mode. Who has no certificate of the API server's is refused there.
func (t *Tagpin) URL(mode string) string { return "https://" + t.address + "/" + mode }
