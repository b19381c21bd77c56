// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"path/filepath"
	"strings"
)

// Replica is one more tagpin-webhook, for tests that need several.
type Replica struct {
	// Name is of its log.
	Name string
	// Namespace and ServiceAccount are who it is to the API server. What it may, is the test's to grant.
	Namespace, ServiceAccount string
	// Config is the path of its config file.
	Config string
}

// StartReplica starts it and waits until it is ready. Kill is to be called for it.
func (c *Cluster) StartReplica(ctx context.Context, r Replica) (t *Tagpin, err error) {
	group := "system:serviceaccounts"
	kubeconfig, err := c.writeKubeconfig(r.Name+".kubeconfig", strings.Join([]string{"system:serviceaccount", r.Namespace, r.ServiceAccount}, ":"),
		group, group+":"+r.Namespace, "system:authenticated")
	if err != nil {
		return nil, err
	}
	for range startAttempts {
		t = &Tagpin{LogFile: filepath.Join(c.dir, r.Name+".log"), environment: []string{"POD_NAMESPACE=" + r.Namespace}}
		if err = t.start(ctx, c.binary(), []string{"--config=" + r.Config, "--kubeconfig=" + kubeconfig}); err == nil || ctx.Err() != nil {
			return t, err
		}
	}
	return t, err
}

// Address is where it serves the webhook.
func (t *Tagpin) Address() string { return t.address }

// Addresses are those of its ports.
func (t *Tagpin) Addresses() (webhook, metrics, probes string) {
	host := func(url string) string {
		rest, _ := strings.CutPrefix(url, "http://")
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	return t.address, host(t.MetricsURL), host(t.readyURL)
}

// Ready says why it is not ready.
func (t *Tagpin) Ready(ctx context.Context) error {
	_, err := get(ctx, t.readyURL)
	return err
}
