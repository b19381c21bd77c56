// SPDX-License-Identifier: Apache-2.0

package istio

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// object is an object of a manifest.
type object = map[string]any

// installation is what istioctl prints.
type installation struct {
	objects  []object // without what would run or be called in the cluster
	webhooks []object // the registrations

	env     *neighbours.Env
	webhook string // its address
}

// label is the label of a namespace in which another registration of Istio counts.
const label = "e2e.tagpin.dev/istio"

// The values of the label.
const (
	again = "again" // with the reinvocationPolicy IfNeeded
	late  = "late"  // with a name that sorts after zz-tagpin
)

// proxy is the repository of Istio's proxy, and proxyTag its tag.
const (
	proxy    = "istio/proxyv2"
	proxyTag = "1"
)

// newInstallation reads the manifest.
func newInstallation(ctx context.Context, e *neighbours.Env) (*installation, error) {
	address, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	i := &installation{env: e, webhook: address}
	text, err := i.manifest(ctx)
	if err != nil {
		return nil, err
	}
	// The control plane is a process of this machine, and only its injector is of interest.
	left := []string{
		"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ValidatingWebhookConfiguration",
	}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			return nil, err
		}
		kind, _ := o["kind"].(string)
		switch {
		case kind == "MutatingWebhookConfiguration":
			if err := i.register(o); err != nil {
				return nil, err
			}
		case kind != "" && !slices.Contains(left, kind):
			i.objects = append(i.objects, o)
		}
	}
	if len(i.objects) < 15 || len(i.webhooks) != 3 {
		err = fmt.Errorf("the manifest has %d objects and %d registrations",
			len(i.objects), len(i.webhooks))
	}
	return i, err
}

// manifest returns what istioctl prints for an injector at an address, without gateways.
func (i *installation) manifest(ctx context.Context) (string, error) {
	ca := base64.StdEncoding.EncodeToString(i.env.CA.PEM)
	args := []string{"manifest", "generate"}
	for _, setting := range []string{
		"profile=minimal", "hub=" + i.env.Open.Host + "/istio", "tag=" + proxyTag,
		"values.istiodRemote.injectionURL=https://" + i.webhook + "/inject",
		"values.istiodRemote.injectionCABundle=" + ca,
	} {
		args = append(args, "--set="+setting)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(i.env.Dir, "istioctl"), args...)
	cmd.Env = append(os.Environ(), "HOME="+i.env.Scratch, "KUBECONFIG="+i.env.Kubeconfig)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("istioctl: %w\n%s", err, stderr.String())
	}
	return string(out), nil
}

// register adds Istio's registration, and two others for namespaces with the label.
func (i *installation) register(registration object) error {
	text, err := yaml.Marshal(registration)
	if err != nil {
		return err
	}
	for _, other := range []struct {
		name, policy string
		namespaces   object // a requirement of the namespaceSelector
	}{
		{"istio-sidecar-injector", "Never", object{"key": label, "operator": "DoesNotExist"}},
		{"istio-sidecar-injector-again", "IfNeeded", in(again)},
		{"zzz-istio-sidecar-injector", "Never", in(late)},
	} {
		var o object
		if err := yaml.Unmarshal(text, &o); err != nil {
			return err
		}
		o["metadata"].(object)["name"] = other.name
		for _, w := range o["webhooks"].([]any) {
			w := w.(object)
			w["reinvocationPolicy"] = other.policy
			selector := w["namespaceSelector"].(object)
			selector["matchExpressions"] = append(selector["matchExpressions"].([]any), other.namespaces)
		}
		i.webhooks = append(i.webhooks, o)
	}
	return nil
}

// in requires a value of the label.
func in(value string) object {
	return object{"key": label, "operator": "In", "values": []string{value}}
}

// apply applies objects, and waits until the kinds of CRDs are served.
func (i *installation) apply(ctx context.Context, objects []object) error {
	var all bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "---\n%s", text)
	}
	_, _, err := i.env.RunKubectl(ctx, &all, "apply", "--server-side", "-f", "-")
	if err != nil {
		return fmt.Errorf("installing Istio: %w", err)
	}
	return i.env.WaitForCRDs(ctx)
}
