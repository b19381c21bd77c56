// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/cluster"
	"github.com/tagpin/tagpin/pkg/audit/page"
	"github.com/tagpin/tagpin/pkg/fair"
	secrets "github.com/tagpin/tagpin/pkg/keychain/cluster"
)

const aboutAudit = `Compares what runs in a cluster with what its registries serve now.

Each container of the pods that have not finished is in one or more of these states:

%s
Containers with the same image are put together by workload: a Deployment, a CronJob, a custom
resource. In the table, RUNS is the beginning of the digest that runs. TAG NOW is that of the digest
that the tag names now, if the tag has drifted. The table leaves out pinned containers about which
there is no more to say, unless --all is set. -o json has all containers, with whole digests.

To find out whether two clusters run the same code, audit each with --all or -o json, and compare
the digests. Different ones may still be the same code: a node reports the digest of an index or
that of the manifest for its own platform. tagpin inspect IMAGE lists the manifests of an index.

Each image is looked up once for each set of credentials that is tried. These are your own logins,
the Docker config that the config names (credentials.dockerConfig), and with --pull-secrets those
that the pods pull with. Nothing is pulled.

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
  tagpin audit --context blue --namespace shop --all
  tagpin audit --context blue --namespace shop -o json
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
	all         bool // namespaces
	allRows     bool // in the table
	selector    string
	pullSecrets bool
	failOn      []string
	output      format
	listen      string
	interval    time.Duration

	states      []audit.State      // those of --fail-on
	server      cluster.Server     // the API server
	lastMissing *audit.LastMissing // with --listen
	report      func(error)        // is called with errors that do not end an audit
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
	a.register(f, "exemptImages, shortNames, credentials.dockerConfig, registries and network")
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
	f.BoolVar(&a.allRows, "all", false,
		"also list pinned containers about which there is no more to say; only for the table")
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
	if a.engine, err = a.newEngine(ctx, t.complain); err != nil {
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
	if a.server, err = await(ctx, a.connection.Open); err != nil {
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

// lookupsEnd returns when lookups end, so that what was found until then is printed before the time
// of --timeout is over. It is zero if there is no such time.
func (a *auditing) lookupsEnd(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	return deadline.Add(-a.timeout / 10)
}

// print prints the report.
func (a *auditing) print(report *audit.Report, out io.Writer) error {
	switch a.output.name {
	case formatJSON:
		return report.WriteJSON(out)
	case "html":
		return page.Write(out, report)
	}
	return report.WriteTable(out, a.allRows)
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
