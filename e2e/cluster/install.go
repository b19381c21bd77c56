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
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/tools"
)

// install installs deploy/kustomize with kubectl, as users do, and then replaces the registration.
// There is no node to run tagpin on, so the new one calls this machine's process.
func (c *Cluster) install(ctx context.Context) error {
	c.say("installing deploy/kustomize")
	dir := filepath.Join(c.root, "deploy", "kustomize")
	if _, _, err := c.RunKubectl(ctx, nil, "apply", "-k", dir); err != nil {
		return fmt.Errorf("installing deploy/kustomize: %w", err)
	}
	return c.Register(ctx)
}

// Register installs the registration that tagpin-webhook manifests prints with the given flags.
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

// Manifests returns what tagpin-webhook manifests prints for the config with the given flags.
func (c *Cluster) Manifests(ctx context.Context, flags ...string) ([]byte, error) {
	args := []string{"manifests", "--config=" + c.configFile(), "--ca-file=" + c.caFile()}
	cmd := exec.CommandContext(ctx, c.binary(), append(args, flags...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tagpin-webhook manifests: %w\n%s", err, stderr.String())
	}
	return out, nil
}

// service matches the part of the registration that names the Service.
var service = regexp.MustCompile(`service: \{.*path: /([a-z-]+)\}`)

// InstallCopy installs a copy of the registration, which is for namespaces with another label and
// calls another URL. With it a test can check the conditions alone.
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

// InstallCRDs creates the CRDs in the files of modules, and returns when their kinds are served.
func (c *Cluster) InstallCRDs(ctx context.Context, modules []tools.Source) error {
	var all []string
	for _, m := range modules {
		files, err := m.Download(ctx)
		if err != nil {
			return err
		}
		all = append(all, files...)
	}
	return c.InstallCRDFiles(ctx, all)
}

// InstallCRDFiles creates the CRDs in files, and returns when their kinds are served.
func (c *Cluster) InstallCRDFiles(ctx context.Context, files []string) error {
	_, _, err := c.RunKubectl(ctx, nil, "create", "-f", strings.Join(files, ","))
	if err != nil {
		return fmt.Errorf("creating CRDs: %w", err)
	}
	return c.WaitForCRDs(ctx)
}

// WaitForCRDs waits until the kinds of all CRDs are served, for a minute at most.
func (c *Cluster) WaitForCRDs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, _, err := c.RunKubectl(ctx, nil,
			"wait", "crd", "--all", "--for=condition=Established", "--timeout=1m")
		// kubectl fails at once for a CRD that has no status yet.
		if err == nil || !strings.Contains(err.Error(), ".status.conditions accessor error") {
			return err
		}
	}
}
