// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// Names in Kyverno's manifest, and of the registrations that it makes.
const (
	system     = "kyverno"
	deployment = "kyverno-admission-controller" // also the service account
	mutating   = "kyverno-resource-mutating-webhook-cfg"
)

// installation is what is in the manifest of Kyverno's module, and the process of its admission
// controller.
type installation struct {
	objects []neighbours.Object

	env       *neighbours.Env
	args      []string // of the container in the Deployment
	variables []string
	process   *child.Process
}

// newInstallation reads the manifest. It leaves out the Deployments. A process takes the place of
// the pod of one, and the policies of these tests don't need the others.
func newInstallation(ctx context.Context, e *neighbours.Env) (*installation, error) {
	dir, _, err := e.Source(ctx, module)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "config", "install-latest-testing.yaml"))
	if err != nil {
		return nil, err
	}
	all, err := neighbours.Objects(string(text))
	if err != nil {
		return nil, err
	}
	i := &installation{env: e}
	for _, o := range all {
		if o["kind"] != "Deployment" {
			i.objects = append(i.objects, o)
		} else if o["metadata"].(neighbours.Object)["name"] == deployment {
			i.container(o)
		}
	}
	if len(i.objects) < 50 || len(i.args) == 0 {
		err = fmt.Errorf("the manifest has %d objects, and the flags %q", len(i.objects), i.args)
	}
	return i, err
}

// container takes the flags and the environment of the container in the Deployment.
func (i *installation) container(o neighbours.Object) {
	template := o["spec"].(neighbours.Object)["template"].(neighbours.Object)
	c := template["spec"].(neighbours.Object)["containers"].([]any)[0].(neighbours.Object)
	for _, a := range c["args"].([]any) {
		i.args = append(i.args, a.(string))
	}
	for _, v := range c["env"].([]any) {
		v := v.(neighbours.Object)
		if value, ok := v["value"].(string); ok && v["name"] != "TUF_ROOT" {
			i.variables = append(i.variables, v["name"].(string)+"="+value)
		}
	}
	i.variables = append(i.variables, "KYVERNO_NAMESPACE="+system, "KYVERNO_POD_NAME="+deployment)
}

// start starts the admission controller, and waits until it has registered its webhooks.
func (i *installation) start(ctx context.Context) error {
	if i.process != nil {
		if err := i.process.Start(); err != nil {
			return err
		}
		return i.process.Wait(ctx, i.registered)
	}
	kubeconfig, err := i.env.ActAs(system, deployment)
	if err != nil {
		return err
	}
	address, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ca := filepath.Join(i.env.Scratch, "ca.crt") // of the registries
	if err := os.WriteFile(ca, i.env.CA.PEM, 0o600); err != nil {
		return err
	}
	i.process, err = i.env.StartProgram("kyverno",
		append(slices.Clone(i.variables), "SSL_CERT_FILE="+ca, "TUF_ROOT="+i.env.Scratch),
		append(slices.Clone(i.args), "--kubeconfig="+kubeconfig, "--serverIP="+address,
			"--webhookServerHost="+host, "--webhookServerPort="+port, "--disableMetrics=true",
			"--controllerRuntimeMetricsAddress=0", "--leaderElectionRetryPeriod=1s")...)
	if err != nil {
		return err
	}
	return i.process.Wait(ctx, i.registered)
}

// registered returns nil if the API server calls the webhook that validates policies.
func (i *installation) registered(ctx context.Context) error {
	const invalid = `
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: invalid}
spec:
  background: true
  rules:
  - name: a
    match: {any: [{resources: {kinds: [Pod]}, subjects: [{kind: User, name: a}]}]}
    validate: {message: a, pattern: {metadata: {name: a}}}
`
	_, _, err := i.env.RunKubectl(ctx, strings.NewReader(invalid),
		"create", "--dry-run=server", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), "validate-policy.kyverno.svc") {
		return errors.Join(errors.New("the API server does not call Kyverno"), err)
	}
	return nil
}

// remove ends the process and deletes the registrations.
func (i *installation) remove(ctx context.Context) error {
	err := i.process.Kill()
	api := i.env.Client.AdmissionregistrationV1()
	selector := metav1.ListOptions{LabelSelector: "webhook.kyverno.io/managed-by=kyverno"}
	return errors.Join(err,
		api.MutatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, selector),
		api.ValidatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, selector))
}
