// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConfigurationName is the name of the webhook's registration.
const ConfigurationName = "zz-tagpin"

// ModeLabel is the label of a namespace that switches tagpin on.
const ModeLabel = "tagpin.dev/mode"

// Install installs deploy/kustomize by kubectl. Only the address of the webhook is changed, to the process that
// StartTagpin starts: there is no node to run it on.
func (c *Cluster) Install(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	overlay, err := c.overlay(address)
	if err != nil {
		return err
	}
	if _, _, err := c.RunKubectl(ctx, nil, "apply", "-k", overlay); err != nil {
		return fmt.Errorf("installing deploy/kustomize: %w", err)
	}
	c.Tagpin = &Tagpin{address: address, cluster: c}
	return nil
}

// overlay is a kustomization of deploy/kustomize.
func (c *Cluster) overlay(address string) (string, error) {
	dir := filepath.Join(c.dir, "overlay")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	base, err := filepath.Rel(dir, filepath.Join(c.root, "deploy", "kustomize"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "resources: [%q]\npatches:\n- target: {kind: MutatingWebhookConfiguration}\n  patch: |-\n", base)
	ca := base64.StdEncoding.EncodeToString(c.CA.PEM)
	for i, mode := range []string{"enforce", "dry-run", "keep"} {
		fmt.Fprintf(&b, "    - {op: test, path: /webhooks/%d/name, value: %s.tagpin.dev}\n", i, mode)
		fmt.Fprintf(&b, "    - {op: replace, path: /webhooks/%d/clientConfig, value: {url: %q, caBundle: %s}}\n",
			i, "https://"+address+"/"+mode, ca)
	}
	return dir, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(b.String()), 0o600)
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

// config is the config of tagpin here: it knows the registries, and may connect to loopback.
func (c *Cluster) config() string {
	var b strings.Builder
	b.WriteString("apiVersion: tagpin.dev/v1alpha1\nkind: Config\ncertificates: {mode: mounted}\n")
	b.WriteString("network: {allow: [127.0.0.0/8]}\nregistries:\n")
	for _, host := range []string{c.Open.Host, c.Token.Host, c.Basic.Host} {
		fmt.Fprintf(&b, "- {host: %q, caFile: %q}\n", host, c.caFile())
	}
	return b.String()
}

// freeAddress finds a free port of loopback. Another process could take it before tagpin does; then tagpin does not
// start, and says so.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), errors.Join(err, l.Close())
}
