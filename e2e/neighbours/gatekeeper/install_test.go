// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// object is an object of a manifest.
type object = neighbours.Object

// installation is what is in the manifest of Gatekeeper's module.
type installation struct {
	objects  []object // all but the registrations, with pods in the place of Deployments
	webhooks []object // the registrations

	env     *neighbours.Env
	address string // of the webhooks
}

// label is the label of a namespace in which another registration of Gatekeeper's mutation counts.
const label = "e2e.tagpin.dev/gatekeeper"

// The values of the label.
const (
	again = "again" // with the reinvocationPolicy IfNeeded
	late  = "late"  // with a name that sorts after zz-tagpin
)

// newInstallation reads the manifest.
func newInstallation(ctx context.Context, e *neighbours.Env) (*installation, error) {
	dir, _, err := e.Source(ctx, module)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "deploy", "gatekeeper.yaml"))
	if err != nil {
		return nil, err
	}
	all, err := neighbours.Objects(string(text))
	if err != nil {
		return nil, err
	}
	address, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	i := &installation{env: e, address: address}
	for _, o := range all {
		switch o["kind"] {
		case "Deployment":
			i.objects = append(i.objects, pod(o))
		case "MutatingWebhookConfiguration":
			if err := i.mutating(o); err != nil {
				return nil, err
			}
		case "ValidatingWebhookConfiguration":
			i.local(o)
			i.webhooks = append(i.webhooks, o)
		default:
			i.objects = append(i.objects, o)
		}
	}
	if len(i.objects) < 20 || len(i.webhooks) != 4 {
		err = fmt.Errorf("the manifest has %d objects and %d registrations",
			len(i.objects), len(i.webhooks))
	}
	return i, err
}

// pod returns a pod with the name and the spec of a Deployment. Gatekeeper looks up the pod that it
// takes itself for, and makes it the owner of what it reports.
func pod(deployment object) object {
	metadata := deployment["metadata"].(object)
	template := deployment["spec"].(object)["template"].(object)
	return object{
		"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
		"metadata": object{"name": metadata["name"], "namespace": metadata["namespace"]},
	}
}

// local makes a registration call the process on this machine. The API server waits longer than in
// the manifest, and denies what Gatekeeper has not answered, so that a test on a busy machine does
// not take a late answer for an admission.
func (i *installation) local(registration object) {
	for _, w := range registration["webhooks"].([]any) {
		w := w.(object)
		config := w["clientConfig"].(object)
		path := config["service"].(object)["path"].(string)
		w["clientConfig"] = object{
			"url":      "https://" + i.address + path,
			"caBundle": base64.StdEncoding.EncodeToString(i.env.CA.PEM),
		}
		w["failurePolicy"], w["timeoutSeconds"] = "Fail", 10
	}
}

// mutating adds the registration of Gatekeeper's mutation, and two others for namespaces with the
// label.
func (i *installation) mutating(registration object) error {
	i.local(registration)
	text, err := yaml.Marshal(registration)
	if err != nil {
		return err
	}
	for _, other := range []struct {
		name, policy string
		namespaces   object // a requirement of the namespaceSelector
	}{
		{
			"gatekeeper-mutating-webhook-configuration", "Never",
			object{"key": label, "operator": "DoesNotExist"},
		},
		{
			"gatekeeper-mutating-again", "IfNeeded",
			object{"key": label, "operator": "In", "values": []string{again}},
		},
		{
			"zzz-gatekeeper-mutating", "Never",
			object{"key": label, "operator": "In", "values": []string{late}},
		},
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

// forbidden is a namespace that Gatekeeper's webhook refuses.
const forbidden = `
apiVersion: v1
kind: Namespace
metadata: {name: forbidden, labels: {admission.gatekeeper.sh/ignore: "true"}}
`

// registered returns nil if the API server calls the webhook that validates.
func (i *installation) registered(ctx context.Context) error {
	_, _, err := i.env.RunKubectl(ctx, strings.NewReader(forbidden),
		"create", "--dry-run=server", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), "check-ignore-label.gatekeeper.sh") {
		return errors.Join(errors.New("the API server does not call Gatekeeper"), err)
	}
	return nil
}

// templates creates the templates of constraints, and waits until Gatekeeper has made their kinds.
func (i *installation) templates(ctx context.Context) error {
	own, _, err := ownPolicy()
	if err != nil {
		return err
	}
	_, _, err = i.env.RunKubectl(ctx, strings.NewReader(template+"---\n"+own), "create", "-f", "-")
	if err != nil {
		return err
	}
	for _, kind := range []string{"k8simagedigests", "tagpindigests"} {
		_, _, err = i.env.RunKubectl(ctx, nil, "wait", "--for=create", "--timeout=1m",
			"crd/"+kind+".constraints.gatekeeper.sh")
		if err != nil {
			return err
		}
	}
	return i.env.WaitForCRDs(ctx)
}
