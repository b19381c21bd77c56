// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/tools"
)

const (
	namespace    = "tagpin-system"
	registration = "zz-tagpin"
	selector     = "app.kubernetes.io/name=tagpin"
)

var (
	env    *cluster.Cluster  // an API server alone
	helms  map[string]string // the programs, by major version
	deploy string            // path of the folder
)

// crds returns the modules with the CRDs of the kinds that some values of the chart use.
func crds() []tools.Source {
	return []tools.Source{
		{
			Path:    "github.com/prometheus-operator/prometheus-operator",
			Version: "v0.85.0", Sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
			Files: []string{
				"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
				"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
			},
		},
		{
			Path:    "github.com/cert-manager/cert-manager",
			Version: "v1.21.2", Sum: "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
			Files: []string{
				"deploy/crds/cert-manager.io_certificates.yaml",
				"deploy/crds/cert-manager.io_issuers.yaml",
			},
		},
	}
}

func TestMain(m *testing.M) {
	before := func(ctx context.Context, c *cluster.Cluster) error {
		module, err := tools.Module(ctx)
		if err != nil {
			return err
		}
		deploy = filepath.Join(filepath.Dir(module), "deploy")
		if helms, err = tools.Helm(ctx, os.Stderr); err != nil {
			return err
		}
		if err := c.InstallCRDs(ctx, crds()); err != nil {
			return err
		}
		return namespaces(ctx, c)
	}
	os.Exit(cluster.Tests{Start: cluster.StartAPIServer, Before: before}.Run(m, &env))
}

// namespaces creates the namespaces that the test values name. Pods in tagpin's own namespace must
// be restricted, and the API server warns of workloads whose pods are not.
func namespaces(ctx context.Context, c *cluster.Cluster) error {
	for _, name := range []string{namespace, "shop", "other", "monitoring"} {
		if _, _, err := c.RunKubectl(ctx, nil, "create", "namespace", name); err != nil {
			return err
		}
	}
	// Elsewhere a controller creates it. Pods need it.
	if _, _, err := c.RunKubectl(ctx, nil, "create", "serviceaccount", "default", "--namespace="+namespace); err != nil {
		return err
	}
	_, _, err := c.RunKubectl(ctx, nil, "label", "namespace", namespace,
		"pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
	return err
}

// helm runs a version of Helm and returns its stdout. It sets a tag of the image, which the chart
// requires, before the other values.
func helm(t *testing.T, version string, args ...string) string {
	t.Helper()
	if slices.Contains([]string{"install", "upgrade", "template"}, args[0]) {
		args = slices.Insert(slices.Clone(args), 1, "--set=image.tag=e2e")
	}
	cmd := helmCommand(t, version, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("helm %s %s: %v\n%s", version, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// helmCommand returns a command of a version of Helm.
func helmCommand(t *testing.T, version string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helms[version], append(args, "--namespace", namespace)...)
	home := t.TempDir() // without settings and plugins of the user
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env.Kubeconfig,
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	return cmd
}

// kubectl runs kubectl and returns its stdout and stderr.
func kubectl(t *testing.T, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := env.RunKubectl(t.Context(), strings.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout, stderr
}

// cases returns the files of test values, by name.
func cases(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(deploy, "chart", "ci", "*-values.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files of test values: %v", err)
	}
	files := map[string]string{}
	for _, path := range paths {
		files[strings.TrimSuffix(filepath.Base(path), "-values.yaml")] = path
	}
	return files
}

// left returns the names of all objects of tagpin.
func left(t *testing.T) string {
	t.Helper()
	const kinds = "serviceaccounts,secrets,configmaps,services,deployments," +
		"poddisruptionbudgets,networkpolicies,resourcequotas,roles,rolebindings,clusterroles," +
		"clusterrolebindings,mutatingwebhookconfigurations,certificates,issuers,servicemonitors," +
		"prometheusrules,flowschemas,horizontalpodautoscalers"
	out, _ := kubectl(t, "", "get", kinds, "--all-namespaces", "--selector="+selector, "--output=name")
	return out
}
