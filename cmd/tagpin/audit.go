// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	validate "k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/cluster"
	"github.com/tagpin/tagpin/pkg/audit/page"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	secrets "github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

const aboutAudit = `Compares what runs in a cluster with what its registries serve now.

Each container of the pods that have not finished is in one or more of these states:

%s
Containers with the same image are put together by workload: a Deployment, a CronJob, a custom
resource. The table has the digest that runs and, if the tag has drifted, the one that it names now;
it leaves out pinned containers about which there is no more to say. Each image is looked up once
for each set of credentials that is tried. These are your own logins, the Docker config that the
config names (credentials.dockerConfig), and with --pull-secrets those that the pods pull with.
Nothing is pulled.

It reads the cluster of the kubeconfig or, in a pod, its own, and needs the permission to list pods,
replicasets.apps and jobs.batch, and with --pull-secrets to get secrets and serviceaccounts. With
the permission to get namespaces, it also finds out that a namespace of --namespace does not exist.

With --listen, it repeats this and serves the page at /, the same as JSON at /report.json,
Prometheus metrics at /metrics, and /healthz.

If a part of the cluster can't be read or does not exist, the exit code is 2; tagpin --help has all
of them. With --listen, it is 0 once the command was stopped.`

// describeAudit returns the help of the command, with the states.
func describeAudit() string {
	var states strings.Builder
	for _, s := range audit.States() {
		fmt.Fprintf(&states, "  %-8s   %s\n", s, s.Meaning())
	}
	return fmt.Sprintf(aboutAudit, states.String())
}

const auditExamples = `  tagpin audit
  tagpin audit --namespace shop --fail-on gone,drifted
  tagpin audit --pull-secrets -o html > audit.html
  tagpin audit --listen :8080 --interval 1h`

// largeManifests is the number of bytes of large manifests that are in memory at the same time.
const largeManifests = 16 << 20

// largeSecrets is the number of bytes of large pull secrets and service accounts that are read at
// the same time: one of a namespace, and two of all.
const largeSecrets = 2 * secrets.LargeObject

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
	output      format
	listen      string
	interval    time.Duration

	states []audit.State  // those of --fail-on
	server cluster.Server // the API server
	report func(error)    // is called with what the user should know but does not end an audit
}

func newAuditCommand(t terminal) *cobra.Command {
	var a auditing
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Compare what runs in a cluster with its registries",
		Long:    describeAudit(),
		Example: auditExamples,
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return a.run(c.Context(), c.Flags(), t) },
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
	f.StringSliceVar(&a.failOn, "fail-on", []string{string(audit.Unpinned), string(audit.Gone)},
		"exit with code 1 for containers in these `states`: "+either(knownStates()))
	a.output.register(f, "", "table", formatJSON, "html")
	f.StringVar(&a.listen, "listen", "",
		"serve the page and metrics on this `address`, such as :8080, until the command is stopped")
	f.DurationVar(&a.interval, "interval", time.Hour,
		"`time` from the beginning of an audit to that of the next, with --listen; it varies by a tenth "+
			"either way")
	return c
}

func (a *auditing) run(ctx context.Context, flags *pflag.FlagSet, t terminal) error {
	if err := a.checkFlags(flags); err != nil {
		return err
	}
	var err error
	if a.engine, err = a.newEngine(t.complain); err != nil {
		return err
	}
	defer a.close()
	// A manifest may have 4 MiB, and one namespace may have many of that size.
	a.client.Manifests = &fair.Queue{Capacity: largeManifests, Share: largeManifests / 2}
	// Tenants may read what is served, and learn from it what can be reached from here.
	a.client.ExplainAll = a.listen == ""
	// What is gone is so for everybody who may see that it runs.
	a.client.TellShared = true
	a.connection.UserAgent = "tagpin/" + moduleVersion()
	if a.server, err = a.connection.Open(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.report = t.complain
	if a.listen != "" {
		return a.serve(ctx, t)
	}
	limited, cancel := a.limit(ctx)
	defer cancel()
	report, err := a.auditCluster(limited, a.lookupsEnd(limited), t.status)
	t.status("")
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return fmt.Errorf("audit: %w", err)
	}
	if err := a.print(report, t.out); err != nil {
		return err
	}
	a.missing(report, t)
	return a.judge(report)
}

// missing complains about each namespace that is named and has no pod, and about a selector for
// which there is none: they may be spelled wrong.
func (a *auditing) missing(report *audit.Report, t terminal) {
	with := ""
	if a.selector != "" {
		with = " with the selector " + a.selector
	}
	if with != "" && len(a.namespaces) == 0 && report.Summary.Pods == 0 {
		t.complain(errors.New("audit: there is no pod" + with + " that has not finished; check its " +
			"spelling"))
	}
	for _, name := range a.empty(report) {
		t.complain(fmt.Errorf("audit: there is no pod%s that has not finished in the namespace %s; "+
			"check the spelling", with, name))
	}
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

// checkFlags returns an error for each mistake in the flags.
func (a *auditing) checkFlags(flags *pflag.FlagSet) error {
	errs := []error{a.engineFlags.checkFlags()}
	for _, err := range []error{
		a.output.checkFlag(), notTogether(flags, "all-namespaces", "namespace"),
		notTogether(flags, "listen", "output"), notTogether(flags, "listen", "fail-on"),
		notTogether(flags, "listen", "timeout"),
	} {
		if err != nil {
			errs = append(errs, fmt.Errorf("audit: %w", err))
		}
	}
	if flags.Changed("interval") && a.listen == "" {
		errs = append(errs, errors.New("audit: --interval needs --listen"))
	}
	for _, name := range []string{"namespace", "fail-on"} { // a variable in CI may not be set
		if f := flags.Lookup(name); f.Changed && f.Value.String() == "[]" {
			errs = append(errs, fmt.Errorf("audit: --%s has no value", name))
		}
	}
	for _, name := range a.namespaces {
		if name == "" || len(validate.IsPathSegmentName(name)) > 0 {
			errs = append(errs, fmt.Errorf("audit: --namespace %q: no namespace can have this name", name))
		}
	}
	if _, err := labels.Parse(a.selector); err != nil {
		errs = append(errs, fmt.Errorf("audit: --selector %q: %w", a.selector, err))
	}
	var err error
	if a.states, err = failStates(a.failOn); err != nil {
		errs = append(errs, err)
	}
	if a.interval < minInterval {
		errs = append(errs, fmt.Errorf("audit: --interval %v: want at least %v", a.interval, minInterval))
	}
	return errors.Join(errs...)
}

// noState is the value of --fail-on for no state.
const noState = "none"

// knownStates returns the values of --fail-on.
func knownStates() (names []string) {
	for _, s := range audit.States() {
		names = append(names, string(s))
	}
	return append(names, noState)
}

// failStates returns the states that the values of --fail-on name.
func failStates(names []string) (states []audit.State, err error) {
	for _, name := range names {
		switch {
		case name == noState && len(names) == 1:
		case name != noState && slices.Contains(knownStates(), name):
			states = append(states, audit.State(name))
		default:
			return nil, fmt.Errorf("audit: --fail-on %s: want some of %s; %s only by itself",
				strings.Join(names, ","), either(knownStates()), noState)
		}
	}
	return states, nil
}

// auditCluster audits the cluster once. Lookups end at until, if it is not zero. It calls status
// with how far it is.
func (a *auditing) auditCluster(
	ctx context.Context, until time.Time, status func(string),
) (*audit.Report, error) {
	pods := &audit.Collector{Bytes: a.maxBytes()}
	reader := cluster.Reader{
		Client: a.server.Client, InPod: a.server.InPod, Namespaces: a.namespaces,
		Selector: a.selector, Panics: a.panics,
		Progress: func(n int) { status(fmt.Sprintf("listing pods: %d", n)) },
	}
	problems, err := reader.Read(ctx, pods)
	if err != nil {
		return nil, err
	}
	auditor := audit.Auditor{
		Images: a.mirrors, Wait: a.patience.wait, Until: until, Panics: a.panics,
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

// print prints the report.
func (a *auditing) print(report *audit.Report, out io.Writer) error {
	switch a.output.name {
	case formatJSON:
		return report.WriteJSON(out)
	case "html":
		return page.Write(out, report)
	}
	return report.WriteTable(out)
}

// judge returns the error with the exit code of a report.
func (a *auditing) judge(report *audit.Report) error {
	var problems []error
	for _, problem := range report.Problems {
		problems = append(problems, fmt.Errorf("audit: %s", problem))
	}
	var lookups []error
	if n := report.Summary.LookupFailed; n > 0 {
		help := ", and --pull-secrets may help where a login is missing"
		if a.pullSecrets {
			help = ""
		}
		lookups = append(lookups, fmt.Errorf("audit: lookups failed for %s; the details say why%s",
			amount.Of(n, "container"), help))
	}
	return ending(report.Found(a.states) > 0, errors.Join(problems...), lookups)
}
