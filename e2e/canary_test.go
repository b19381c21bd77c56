// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/e2e/registry"
)

// toldIn are the objects that may hold a text of tagpin's: those that it changes, and what is said of them.
const toldIn = "pods,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,replicationcontrollers,podtemplates,events"

// told is an error where a password or a token of the registries stands in anything that tagpin has written in this run:
// its log, its metrics, the objects. It looks when all tests have ended.
func told(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, poll.Deadline)
	defer cancel()
	metrics, err := env.Tagpin.MetricsPage(ctx)
	if err != nil {
		return fmt.Errorf("reading the metrics at the end: %w", err)
	}
	objects, _, err := env.RunKubectl(ctx, strings.NewReader(""), "get", toldIn, "--all-namespaces", "--output=json")
	if err != nil {
		return fmt.Errorf("reading the objects at the end: %w", err)
	}
	var secrets []string
	for _, r := range []*registry.Registry{env.Open, env.Spare, env.Token, env.Basic} {
		secrets = append(secrets, r.Secrets()...)
	}
	var errs []error
	for where, text := range map[string]string{"log": env.Tagpin.Log(), "metrics": metrics, "objects": objects} {
		if text == "" {
			errs = append(errs, fmt.Errorf("the %s can't be searched: there is nothing", where))
		}
		if leak := find(text, secrets); leak != "" {
			errs = append(errs, fmt.Errorf("tagpin told a secret: in the %s stands %q", where, leak))
		}
	}
	return errors.Join(errs...)
}

// find gives the first of some secrets in a text, with what is around it.
func find(text string, secrets []string) string {
	for _, secret := range secrets {
		if i := strings.Index(text, secret); i >= 0 {
			return text[max(0, i-100):min(len(text), i+len(secret)+100)]
		}
	}
	return ""
}
