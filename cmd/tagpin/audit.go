// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	validate "k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/cluster"
	"github.com/tagpin/tagpin/pkg/audit/page"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	secrets "github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

const aboutAudit = `Compares what runs in a cluster with what its registries serve now.

Each container of the pods that have not finished is in one or more of these states:

  pinned     its image has a digest
  unpinned   its image has none, so a new pod may run something else
  exempt     its image has none, and the config (exemptImages) leaves it so
  drifted    the tag names other images now than the one that runs
  gone       the registry no longer has the digest that runs, or an unpinned tag: the next node
             that needs it can't pull it
  unknown    one of these could not be found out, and the details say why

Containers with the same image are put together by workload: a Deployment, a CronJob, a custom
resource. Each image is looked up once. The lookups use your own logins, and with --pull-secrets
those that the pods pull with. Nothing is pulled.

It reads the cluster of the kubeconfig or, in a pod, its own, and needs the permission to list pods,
replicasets.apps and jobs.batch, and with --pull-secrets to get secrets and serviceaccounts.

With --listen, it repeats this and serves the page at /, the same as JSON at /report.json, Prometheus
metrics at /metrics, and /healthz.

Exit codes: 0 nothing was found, 1 a container has a state of --fail-on, 2 wrong usage, or a part of
the cluster can't be read, 3 a lookup failed.`

const auditExamples = `  tagpin audit
  tagpin audit --namespace shop --fail-on gone,drifted
  tagpin audit --pull-secrets -o html > audit.html
  tagpin audit --listen :8080 --interval 1h`

// largeManifests is the number of bytes of large manifests that are in memory at the same time.
const largeManifests = 16 << 20

// auditing has the flags of tagpin audit.
type auditing struct {
	engineFlags
	*engine

	connection  cluster.Connection
	namespaces  []string
	all         bool
	selector    string
	pullSecrets bool
	failOn      []string
	output      string
	listen      string
	interval    time.Duration

	client  rest.Interface
	cluster string // its name
}

func newAuditCommand(t terminal) *cobra.Command {
	var a auditing
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Compare what runs in a cluster with its registries",
		Long:    aboutAudit,
		Example: auditExamples,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.run(c.Context(), t) },
	}
	f := c.Flags()
	a.register(f)
	f.StringVar(&a.connection.Kubeconfig, "kubeconfig", "",
		"`file` that names the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod's own cluster)")
	f.StringVar(&a.connection.Context, "context", "", "`name` of a context in the kubeconfig")
	f.StringSliceVarP(&a.namespaces, "namespace", "n", nil,
		"`namespace` to read; may be repeated (default: all)")
	f.BoolVarP(&a.all, "all-namespaces", "A", false, "read all namespaces, which is the default")
	f.StringVarP(&a.selector, "selector", "l", "", "label `selector` of the pods, such as app=web")
	f.BoolVar(&a.pullSecrets, "pull-secrets", false,
		"use the pull secrets of the pods and of their service accounts")
	f.StringSliceVar(&a.failOn, "fail-on", []string{"unpinned", "gone"},
		"`states` with which the exit code is 1, or none")
	f.StringVarP(&a.output, "output", "o", "table", "output `format`: table, json or html")
	f.StringVar(&a.listen, "listen", "",
		"serve the page and metrics on this `address`, such as :8080, until the command is stopped")
	f.DurationVar(&a.interval, "interval", time.Hour, "`time` between two audits, with --listen")
	return c
}

func (a *auditing) run(ctx context.Context, t terminal) error {
	if err := a.check(); err != nil {
		return err
	}
	var err error
	if a.engine, err = a.newEngine(t.complain); err != nil {
		return err
	}
	defer a.close()
	// A manifest may have 4 MiB, and one namespace may have many of that size.
	a.engine.client.Manifests = &fair.Queue{Capacity: largeManifests, Share: largeManifests / 2}
	// Tenants may read what is served, and learn from it what can be reached from here.
	a.engine.client.ExplainAll = a.listen == ""
	a.connection.UserAgent = "tagpin/" + moduleVersion()
	if a.client, a.cluster, err = a.connection.Open(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if a.listen != "" {
		return a.serve(ctx, t)
	}
	ctx, cancel := a.limit(ctx)
	defer cancel()
	report, err := a.once(ctx, a.lookupsEnd(ctx), t.status)
	t.status("")
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := a.print(report, t.out); err != nil {
		return err
	}
	return a.judge(report)
}

// lookupsEnd returns when lookups end, so that what was found until then is printed before the time
// of --timeout is over. It is zero if there is no such time.
func (a *auditing) lookupsEnd(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	return deadline.Add(-a.timeout / 10)
}

// minInterval keeps an audit from being repeated so often that it uses up the limits of registries.
const minInterval = time.Minute

// check checks the flags. The error describes every mistake.
func (a *auditing) check() error {
	var errs []error
	if !slices.Contains([]string{"table", "json", "html"}, a.output) {
		errs = append(errs, fmt.Errorf("audit: -o %s: want table, json or html", a.output))
	}
	if a.all && len(a.namespaces) > 0 {
		errs = append(errs, errors.New("audit: --all-namespaces and --namespace exclude each other"))
	}
	for _, name := range a.namespaces {
		if name == "" || len(validate.IsPathSegmentName(name)) > 0 {
			errs = append(errs, fmt.Errorf("audit: --namespace %q: no namespace can have this name", name))
		}
	}
	if _, err := labels.Parse(a.selector); err != nil {
		errs = append(errs, fmt.Errorf("audit: --selector %q: %w", a.selector, err))
	}
	if _, err := a.states(); err != nil {
		errs = append(errs, err)
	}
	if a.interval < minInterval {
		errs = append(errs, fmt.Errorf("audit: --interval %v: want at least %v", a.interval, minInterval))
	}
	return errors.Join(errs...)
}

// states returns the states of --fail-on.
func (a *auditing) states() (states []audit.State, err error) {
	for _, name := range a.failOn {
		state := audit.State(name)
		switch {
		case name == "none" && len(a.failOn) == 1:
		case slices.Contains(audit.States(), state):
			states = append(states, state)
		default:
			return nil, fmt.Errorf("audit: --fail-on %s: want none, or some of gone, drifted, unknown, "+
				"unpinned, exempt, pinned", strings.Join(a.failOn, ","))
		}
	}
	return states, nil
}

// once audits the cluster. Lookups end at until, if it is not zero. It calls status with how far it
// is.
func (a *auditing) once(
	ctx context.Context, until time.Time, status func(string),
) (*audit.Report, error) {
	pods := &audit.Collector{}
	reader := cluster.Reader{
		Client: a.client, Namespaces: a.namespaces, Selector: a.selector,
		Progress: func(n int) { status(fmt.Sprintf("listing pods: %d", n)) },
	}
	problems, err := reader.Read(ctx, pods)
	if err != nil {
		return nil, err
	}
	auditor := audit.Auditor{
		Images: a.mirrors, Until: until, ForTenants: a.listen != "",
		LeaveShortNames: a.pinner.Policy.LeaveShortNames,
		Exempt: func(image ref.Reference) bool {
			return slices.ContainsFunc(a.pinner.Policy.Exempt,
				func(p policy.Pattern) bool { return p.Match(image) })
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
	report.Cluster = a.cluster
	for _, problem := range problems {
		report.Problems = append(report.Problems, problem.Error())
	}
	return report, nil
}

// keys returns the credentials of a pull identity: with --pull-secrets its own, and then those that
// a webhook with this config or its user has.
func (a *auditing) keys() (
	keys func(namespace string, id workload.Identity) keychain.Keychain, done func(),
) {
	shared := keychain.Chain{a.keychain}
	if path := a.config.Credentials.DockerConfig; path != "" {
		shared = append(shared, &keychain.File{Path: path})
	}
	if !a.pullSecrets {
		return func(string, workload.Identity) keychain.Keychain { return shared }, func() {}
	}
	c := &secrets.Cluster{
		Get:    secrets.FromClient(a.client, secrets.Places(), &fair.Queue{}),
		Shared: func(string) keychain.Keychain { return shared },
	}
	return c.For, c.Close
}

// print prints the report.
func (a *auditing) print(report *audit.Report, out io.Writer) error {
	switch a.output {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	case "html":
		return page.Write(out, report)
	}
	return report.WriteTable(out)
}

// judge returns the error with the exit code of a report.
func (a *auditing) judge(report *audit.Report) error {
	states, err := a.states()
	if err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		errs := make([]error, len(report.Problems))
		for i, problem := range report.Problems {
			errs[i] = fmt.Errorf("audit: %s", problem)
		}
		return exitError{exitUsage, errors.Join(errs...)}
	}
	if n := report.Summary.FailedLookups; n > 0 {
		return exitError{exitLookup, fmt.Errorf("audit: lookups failed for %s; the details say why, "+
			"and --pull-secrets may help where a login is missing", count(n, "container"))}
	}
	if report.Found(states) > 0 {
		return exitError{code: exitFound}
	}
	return nil
}
