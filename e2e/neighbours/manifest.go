// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// Object is an object of a manifest.
type Object = map[string]any

// Objects returns the objects of a manifest.
func Objects(manifest string) (all []Object, err error) {
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		var o Object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			return nil, err
		}
		if len(o) != 0 {
			all = append(all, o)
		}
	}
	return all, nil
}

// ApplyObjects applies objects, and waits until the kinds of CRDs are served.
func (e *Env) ApplyObjects(ctx context.Context, objects []Object) error {
	var all bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "---\n%s", text)
	}
	_, _, err := e.RunKubectl(ctx, &all, "apply", "--server-side", "-f", "-")
	if err != nil {
		return fmt.Errorf("installing: %w", err)
	}
	return e.WaitForCRDs(ctx)
}

// ActAs writes a kubeconfig with which the administrator acts as a service account, and returns its
// path. A program that gets it has no more rights than its manifest gives the account.
func (e *Env) ActAs(namespace, account string) (kubeconfig string, err error) {
	config, err := clientcmd.LoadFromFile(e.Kubeconfig)
	if err != nil {
		return "", err
	}
	for _, u := range config.AuthInfos {
		u.Impersonate = "system:serviceaccount:" + namespace + ":" + account
		u.ImpersonateGroups = []string{
			"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated",
		}
	}
	kubeconfig = filepath.Join(e.Scratch, account+".kubeconfig")
	return kubeconfig, clientcmd.WriteToFile(*config, kubeconfig)
}
