// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/cluster"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	secrets "github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// auditCluster audits the cluster once. Lookups end at until, if it is not zero. It calls status
// with how far it is.
func (a *auditing) auditCluster(
	ctx context.Context, until time.Time, status func(string),
) (*audit.Report, error) {
	pods := &audit.Collector{Bytes: a.maxBytes()}
	reader := cluster.Reader{
		Client: a.server.Client, InPod: a.server.InPod, Namespaces: a.namespaces,
		Selector: a.selector, PullSecrets: a.pullSecrets, Panics: a.panics,
		Progress: func(n int) { status(fmt.Sprintf("listing pods: %d", n)) },
	}
	problems, err := reader.Read(ctx, pods)
	if err != nil {
		return nil, err
	}
	if err := a.client.LookAtFiles(); err != nil {
		a.report(fmt.Errorf("TLS files refused; the former ones stay in use: %w", err))
	}
	auditor := audit.Auditor{
		Images: a.mirrors, Wait: a.patience.wait, Until: until, Panics: a.panics,
		LastMissing:     a.lastMissing,
		ForTenants:      a.listen != "",
		LeaveShortNames: a.pinner.Policy.LeaveShortNames,
		Exempt: func(image ref.Reference) bool {
			return a.pinner.Policy.Exempts(workload.Kind{Kind: "Pod"}, image)
		},
		Progress: func(done, all int) {
			status(fmt.Sprintf("looking up images: %d of %d", done, all))
		},
	}
	var closeKeys func()
	auditor.Keychain, closeKeys = a.keys()
	defer closeKeys()
	report, err := auditor.Report(ctx, pods)
	if err != nil {
		return nil, err
	}
	report.Cluster = a.server.Name
	for _, err := range problems {
		text := err.Error()
		report.Causes = append(report.Causes, text)
		if problem, ok := errors.AsType[*cluster.Problem](err); ok {
			report.Unread = append(report.Unread, problem.Namespace)
			if auditor.ForTenants {
				text = problem.Part + " failed; the log says why"
			}
		}
		report.Problems = append(report.Problems, text)
	}
	for _, problem := range a.misspelled(ctx, report, &reader) {
		if auditor.ForTenants { // the namespace may be made later
			a.report(fmt.Errorf("audit: %s", problem))
			continue
		}
		report.Problems = append(report.Problems, problem)
	}
	return report, nil
}

// misspelled returns a problem for each namespace that is named and does not exist.
func (a *auditing) misspelled(
	ctx context.Context, report *audit.Report, reader *cluster.Reader,
) (problems []string) {
	for _, name := range a.empty(report) {
		if !reader.Exists(ctx, name) {
			problems = append(problems, "the namespace "+name+" does not exist; check --namespace")
			report.Unread = append(report.Unread, name)
		}
	}
	return problems
}

// empty returns the namespaces that are named, were read, and have no pod in the report.
func (a *auditing) empty(report *audit.Report) (names []string) {
	seen := map[string]bool{}
	for _, c := range report.Containers {
		seen[c.Namespace] = true
	}
	for _, name := range a.namespaces {
		if !seen[name] && !slices.Contains(report.Unread, name) {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names
}

// keys returns the credentials of a pull identity: with --pull-secrets its own, and then those that
// a webhook with this config or its user has.
func (a *auditing) keys() (
	keys func(namespace string, id workload.Identity) keychain.Keychain, done func(),
) {
	shared := keychain.Chain{a.keychain}
	if path := a.config.Credentials.DockerConfig; path != "" {
		shared = append(shared, &keychain.File{Path: path, Report: func(err error) {
			a.report(fmt.Errorf("credentials.dockerConfig: %w", err))
		}})
	}
	if !a.pullSecrets {
		return func(string, workload.Identity) keychain.Keychain { return shared }, func() {}
	}
	c := &secrets.Cluster{
		Get:    readSecrets(a.server.Client),
		Shared: func(string) keychain.Keychain { return shared },
		Panics: a.panics,
	}
	return c.For, c.Close
}

// readSecrets returns what reads pull secrets and service accounts.
func readSecrets(api rest.Interface) secrets.Get {
	large := &fair.Queue{Capacity: largeSecrets, Share: secrets.LargeObject}
	return secrets.FromClient(api, secrets.Places(), large)
}

// missing complains about each namespace that is named and has no pod, and about a selector that
// selects no pod: they may be spelled wrong.
func (a *auditing) missing(report *audit.Report, t terminal) {
	pods := "pending or running pod"
	if a.selector != "" {
		pods += " with the selector " + a.selector
		if len(a.namespaces) == 0 && report.Summary.Pods == 0 {
			t.complain(errors.New("audit: there is no " + pods + "; check its spelling"))
		}
	}
	for _, name := range a.empty(report) {
		t.complain(fmt.Errorf("audit: the namespace %s has no %s; check the spelling", name, pods))
	}
}
