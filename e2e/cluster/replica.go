// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"
)

// Replica describes another process of tagpin-webhook, for tests that need several.
type Replica struct {
	// Name is the name of the log file.
	Name string
	// Namespace and ServiceAccount name its user. The test must grant that user what it needs.
	Namespace, ServiceAccount string
	// Config is the path of its config file.
	Config string
	// CertDir is the folder of its certificate, if that is mounted.
	CertDir string
}

// StartReplica starts a replica and waits until it is ready. The caller must call Kill.
func (c *Cluster) StartReplica(ctx context.Context, r Replica) (t *Tagpin, err error) {
	const group = "system:serviceaccounts"
	user := "system:serviceaccount:" + r.Namespace + ":" + r.ServiceAccount
	kubeconfig, err := c.writeKubeconfig(r.Name+".kubeconfig", user,
		group, group+":"+r.Namespace, "system:authenticated")
	if err != nil {
		return nil, err
	}
	flags := []string{"--config=" + r.Config, "--kubeconfig=" + kubeconfig}
	if r.CertDir != "" {
		flags = append(flags, "--cert-dir="+r.CertDir)
	}
	return c.startWebhook(ctx, r.Name, []string{"POD_NAMESPACE=" + r.Namespace}, flags)
}

// Address returns the address of the webhook.
func (t *Tagpin) Address() string { return t.address }

// Addresses returns the addresses of all ports.
func (t *Tagpin) Addresses() (webhook, metrics, probes string) {
	host := func(url string) string {
		rest, _ := strings.CutPrefix(url, "http://")
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	return t.address, host(t.MetricsURL), host(t.readyURL)
}

// Ready returns nil if the process is ready, or else why it is not.
func (t *Tagpin) Ready(ctx context.Context) error {
	_, err := get(ctx, t.readyURL)
	return err
}
