// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// install installs deploy/kustomize by kubectl, as users do.
func (c *Cluster) install(ctx context.Context) error {
	c.say("installing deploy/kustomize")
	overlay, err := c.overlay()
	if err != nil {
		return err
	}
	if _, _, err := c.RunKubectl(ctx, nil, "apply", "-k", overlay); err != nil {
		return fmt.Errorf("installing deploy/kustomize: %w", err)
	}
	return nil
}

// overlay is a kustomization of deploy/kustomize. The webhook's address is that of the process: there is no node to run
// it on. And the kind of the config's templates is registered.
func (c *Cluster) overlay() (dir string, err error) {
	dir = filepath.Join(c.dir, "overlay")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	base, err := filepath.Rel(dir, filepath.Join(c.root, "deploy", "kustomize"))
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "resources: [%q]\npatches:\n- target: {kind: MutatingWebhookConfiguration}\n  patch: |-\n", base)
	ca := base64.StdEncoding.EncodeToString(c.CA.PEM)
	for i, mode := range []string{"enforce", "dry-run", "keep"} {
		fmt.Fprintf(&b, "    - {op: test, path: /webhooks/%d/name, value: %s.tagpin.dev}\n", i, mode)
		fmt.Fprintf(&b, "    - {op: replace, path: /webhooks/%d/clientConfig, value: {url: %q, caBundle: %s}}\n",
			i, c.Tagpin.URL(mode), ca)
		fmt.Fprintf(&b, "    - {op: add, path: /webhooks/%d/rules/-, value: {operations: [CREATE, UPDATE], "+
			"apiGroups: [argoproj.io], apiVersions: [v1alpha1], resources: [rollouts], scope: Namespaced}}\n", i)
	}
	return dir, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), b.Bytes(), 0o600)
}

// InstallCopy installs a copy of the registration for namespaces with another label, whose webhooks are below another
// URL: for tests of the conditions alone.
func (c *Cluster) InstallCopy(ctx context.Context, name, label, url string) error {
	api := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	original, err := api.Get(ctx, ConfigurationName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	replica := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: original.Webhooks,
	}
	for i := range replica.Webhooks {
		w := &replica.Webhooks[i]
		mode, _, _ := strings.Cut(w.Name, ".")
		target := url + "/" + mode
		w.ClientConfig.URL = &target
		for j := range w.NamespaceSelector.MatchExpressions {
			if e := &w.NamespaceSelector.MatchExpressions[j]; e.Key == ModeLabel {
				e.Key = label
			}
		}
	}
	_, err = api.Create(ctx, replica, metav1.CreateOptions{})
	return err
}
