// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// install installs deploy/kustomize by kubectl, as users do, and then the registration that goes with the config here. The
// webhook's address is that of the process: there is no node to run it on.
func (c *Cluster) install(ctx context.Context) error {
	c.say("installing deploy/kustomize")
	if _, _, err := c.RunKubectl(ctx, nil, "apply", "-k", filepath.Join(c.root, "deploy", "kustomize")); err != nil {
		return fmt.Errorf("installing deploy/kustomize: %w", err)
	}
	return c.Register(ctx)
}

// Register installs the registration that goes with the config, as tagpin-webhook manifests prints it with some flags.
func (c *Cluster) Register(ctx context.Context, flags ...string) error {
	manifest, err := c.Manifests(ctx, flags...)
	if err != nil {
		return err
	}
	manifest = service.ReplaceAll(manifest, []byte("url: "+c.Tagpin.URL("$1")))
	if !bytes.Contains(manifest, []byte(c.Tagpin.URL("enforce"))) {
		return errors.New("the registration names no service")
	}
	_, _, err = c.RunKubectl(ctx, bytes.NewReader(manifest), "apply", "-f", "-")
	return err
}

// Manifests is what tagpin-webhook manifests prints for the config, with some flags.
func (c *Cluster) Manifests(ctx context.Context, flags ...string) ([]byte, error) {
	flags = append([]string{"manifests", "--config=" + c.configFile(), "--ca-file=" + c.caFile()}, flags...)
	cmd := exec.CommandContext(ctx, c.binary(), flags...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tagpin-webhook manifests: %w\n%s", err, stderr.String())
	}
	return out, nil
}

// service is where the registration says who is to be called.
var service = regexp.MustCompile(`service: \{.*path: /([a-z-]+)\}`)

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
