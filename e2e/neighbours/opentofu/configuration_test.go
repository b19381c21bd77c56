// SPDX-License-Identifier: Apache-2.0

package opentofu

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// configuration is a folder with a configuration of one object in a namespace of its own.
type configuration struct {
	*neighbours.Space
	t   *testing.T
	dir string
}

// newConfiguration creates a namespace, and writes a configuration for it. The verb %s of the
// text takes the namespace.
func newConfiguration(t *testing.T, text string) *configuration {
	t.Helper()
	c := &configuration{env.NewSpace(t), t, t.TempDir()}
	const head = `
terraform {
  required_providers { kubernetes = { source = "hashicorp/kubernetes" } }
}
`
	text = head + strings.ReplaceAll(text, "%s", c.Name)
	if err := os.WriteFile(filepath.Join(c.dir, "main.tf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// try runs OpenTofu in the folder, without the settings of the user.
func (c *configuration) try(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(env.Dir, "tofu"), args...)
	cmd.Dir = c.dir
	variables := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "TF_") || strings.HasPrefix(v, "KUBE_")
	})
	cmd.Env = append(variables, "HOME="+env.Scratch, "KUBECONFIG="+env.Kubeconfig,
		"TF_CLI_CONFIG_FILE="+settingsFile(env), "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return out.String(), errs.String(), err
}

func (c *configuration) run(args ...string) (stdout string) {
	c.t.Helper()
	stdout, stderr, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("tofu %q: %v\n%s%s", args, err, stdout, stderr)
	}
	return stdout
}

// flags returns the flags for variables, such as "image=a".
func flags(variables []string) []string {
	all := []string{"-input=false", "-no-color"}
	for _, v := range variables {
		all = append(all, "-var="+v)
	}
	return all
}

// none is a plan without a difference.
const none = "no-op:"

// plan returns what tofu plan says about the object: the actions, and after a colon the paths of
// the fields that will change. If the object is to be replaced, they are those that force it.
func (c *configuration) plan(variables ...string) string {
	c.t.Helper()
	c.run(append([]string{"plan", "-out=plan"}, flags(variables)...)...)
	var p struct {
		Resources []struct {
			Type   string
			Change change
		} `json:"resource_changes"`
	}
	text := c.run("show", "-json", "plan")
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		c.t.Fatal(err)
	}
	for _, r := range p.Resources {
		if strings.HasPrefix(r.Type, "kubernetes_") {
			return r.Change.String()
		}
	}
	c.t.Fatalf("the plan has no resource of Kubernetes\n%s", text)
	return ""
}

// change is what a plan says about a resource.
type change struct {
	Actions       []string
	Before, After any
	ReplacePaths  [][]any `json:"replace_paths"`
}

// String returns what [configuration.plan] does.
func (c change) String() string {
	actions := strings.Join(c.Actions, ", ") + ":"
	var paths []string
	for _, path := range c.ReplacePaths {
		paths = append(paths, strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]"))
	}
	if actions == "update:" {
		paths = differences("", c.Before, c.After)
	}
	return strings.Join(append([]string{actions}, paths...), " ")
}

// differences returns the paths of the fields that differ.
func differences(path string, before, after any) (paths []string) {
	at := func(key any) string { return strings.TrimPrefix(fmt.Sprint(path, ".", key), ".") }
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(b)) {
			paths = append(paths, differences(at(key), b[key], a[key])...)
		}
		return paths
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			break
		}
		for i := range b {
			paths = append(paths, differences(at(i), b[i], a[i])...)
		}
		return paths
	}
	if !reflect.DeepEqual(before, after) {
		paths = []string{path}
	}
	return paths
}

// apply plans and applies, and returns the plan as the method plan does.
func (c *configuration) apply(variables ...string) (plan string) {
	c.t.Helper()
	plan = c.plan(variables...)
	c.run("apply", "-input=false", "-no-color", "plan")
	return plan
}

// wantPlan compares what [configuration.plan] has returned.
func (c *configuration) wantPlan(when, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: the plan is %q, want %q", when, got, want)
	}
}
