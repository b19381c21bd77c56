// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/e2e/registry"
)

// mayLeakIn are the resources in which tagpin could write a secret: those that it changes, and
// events.
const mayLeakIn = "pods,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,replicationcontrollers,podtemplates,events"

// leaked returns an error if a password or a token of the registries is in anything that tagpin
// wrote in this run: its log, its metrics, or the objects. It is called when all tests have ended.
func leaked(ctx context.Context, c *cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, poll.Deadline)
	defer cancel()
	metrics, err := c.Tagpin.MetricsPage(ctx)
	if err != nil {
		return fmt.Errorf("reading the metrics at the end: %w", err)
	}
	objects, _, err := c.RunKubectl(ctx, nil, "get", mayLeakIn, "--all-namespaces", "--output=json")
	if err != nil {
		return fmt.Errorf("reading the objects at the end: %w", err)
	}
	var secrets []string
	for _, r := range []*registry.Registry{c.Open, c.Spare, c.Token, c.Basic} {
		secrets = append(secrets, r.Secrets()...)
	}
	var errs []error
	for where, text := range map[string]string{"log": c.Tagpin.Log(), "metrics": metrics, "objects": objects} {
		if text == "" {
			errs = append(errs, fmt.Errorf("the text of the %s is empty", where))
		}
		if leak := find(text, secrets); leak != "" {
			errs = append(errs, fmt.Errorf("tagpin has written a secret to the %s: %q", where, leak))
		}
	}
	return errors.Join(errs...)
}

// find returns the first secret that a text contains, with the text around it.
func find(text string, secrets []string) string {
	for _, secret := range secrets {
		if i := strings.Index(text, secret); i >= 0 {
			return text[max(0, i-100):min(len(text), i+len(secret)+100)]
		}
	}
	return ""
}
