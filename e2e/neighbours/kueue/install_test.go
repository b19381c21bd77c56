// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// Names in Kueue's manifests.
const (
	system  = "kueue-system"
	account = "kueue-controller-manager"
	service = "kueue-webhook-service"
	secret  = "kueue-webhook-server-cert"
)

// installation is what is in the manifests of Kueue's module, and the process of its manager.
type installation struct {
	objects  []neighbours.Object
	webhooks []neighbours.Object // those of the objects that are registrations

	env     *neighbours.Env
	port    int    // of the webhooks
	health  string // the address of the health checks
	config  string // the path of the manager's config
	process *child.Process
}

// newInstallation reads the manifests. It leaves out the Deployment, because a process takes the
// place of its pod, and the APIServices, which only show what is in queues.
func newInstallation(ctx context.Context, e *neighbours.Env) (*installation, error) {
	dir, _, err := e.Source(ctx, module)
	if err != nil {
		return nil, err
	}
	text, _, err := e.RunKubectl(ctx, nil, "kustomize", filepath.Join(dir, "config", "default"))
	if err != nil {
		return nil, err
	}
	all, err := neighbours.Objects(text)
	if err != nil {
		return nil, err
	}
	i := &installation{env: e}
	if err := i.addresses(ctx); err != nil {
		return nil, err
	}
	for _, o := range all {
		if err := i.add(o); err != nil {
			return nil, err
		}
	}
	if len(i.objects) < 50 || len(i.webhooks) != 2 || i.config == "" {
		err = fmt.Errorf("the manifests have %d objects, %d registrations and the config %q",
			len(i.objects), len(i.webhooks), i.config)
	}
	return i, err
}

// addresses finds free addresses for the manager.
func (i *installation) addresses(ctx context.Context) (err error) {
	if i.health, err = neighbours.FreeAddress(ctx); err != nil {
		return err
	}
	webhooks, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(webhooks)
	if err != nil {
		return err
	}
	i.port, err = strconv.Atoi(port)
	return err
}

// add adds an object to those that are installed.
func (i *installation) add(o neighbours.Object) error {
	metadata := o["metadata"].(neighbours.Object)
	switch o["kind"] {
	case "Deployment", "APIService":
		return nil
	case "ConfigMap":
		text := o["data"].(neighbours.Object)["controller_manager_config.yaml"].(string)
		if err := i.configure(text); err != nil {
			return err
		}
	case "Service":
		if metadata["name"] == service { // the API server calls this machine in place of the pod
			o["spec"] = neighbours.Object{"type": "ExternalName", "externalName": "localhost"}
		}
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		for _, w := range o["webhooks"].([]any) {
			i.local(w.(neighbours.Object))
		}
		i.webhooks = append(i.webhooks, o)
	case "CustomResourceDefinition":
		if c, ok := o["spec"].(neighbours.Object)["conversion"].(neighbours.Object); ok {
			i.local(c["webhook"].(neighbours.Object))
		}
	}
	i.objects = append(i.objects, o)
	return nil
}

// local sets the port of a webhook.
func (i *installation) local(webhook neighbours.Object) {
	config := webhook["clientConfig"].(neighbours.Object)
	config["service"].(neighbours.Object)["port"] = i.port
}

// configure writes the config of the manifests to a file, with the addresses of this machine.
func (i *installation) configure(text string) error {
	var config neighbours.Object
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	config["health"] = neighbours.Object{"healthProbeBindAddress": i.health}
	config["metrics"] = neighbours.Object{"bindAddress": "0"}
	config["webhook"] = neighbours.Object{
		"host": "127.0.0.1", "port": i.port, "certDir": i.env.Scratch,
	}
	config["leaderElection"] = neighbours.Object{"leaderElect": false}
	out, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	i.config = filepath.Join(i.env.Scratch, "kueue.yaml")
	return os.WriteFile(i.config, out, 0o600)
}

// start starts the manager, and waits until the API server calls its webhooks.
func (i *installation) start(ctx context.Context) error {
	kubeconfig, err := i.env.ActAs(system, account)
	if err != nil {
		return err
	}
	if i.process == nil {
		i.process, err = i.env.StartProgram("kueue", nil, "--kubeconfig="+kubeconfig,
			"--config="+i.config, "--feature-gates=VisibilityOnDemand=false", "--zap-log-level=2")
	} else {
		err = i.process.Start()
	}
	if err != nil {
		return err
	}
	return i.process.Wait(ctx, func(ctx context.Context) error {
		return errors.Join(i.mount(ctx),
			neighbours.Ready(ctx, "http://"+i.health+"/readyz"), i.registered(ctx))
	})
}

// mount writes the certificate of the webhooks, which Kueue makes itself, to files, as a kubelet
// does for Kueue's pod.
func (i *installation) mount(ctx context.Context) error {
	s, err := i.env.Client.CoreV1().Secrets(system).Get(ctx, secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, name := range []string{"tls.key", "tls.crt"} {
		file, data := filepath.Join(i.env.Scratch, name), s.Data[name]
		if old, err := os.ReadFile(file); len(data) == 0 || err == nil && bytes.Equal(old, data) {
			continue
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// registered returns nil if the API server calls the webhook that suspends Jobs.
func (i *installation) registered(ctx context.Context) error {
	manifest := fmt.Sprintf(job, "a", "image", "", 1, "")
	out, _, err := i.env.RunKubectl(ctx, strings.NewReader(manifest),
		"create", "--dry-run=server", "-o", "jsonpath={.spec.suspend}", "-f", "-")
	if err == nil && out != "true" {
		err = fmt.Errorf("the API server does not call Kueue: suspend is %q", out)
	}
	return err
}
