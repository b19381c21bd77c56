// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.yaml.in/yaml/v3"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// The files of a repository, for the hooks and for CI.
const (
	unpinnedPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n" +
		"  - {name: a, image: nginx:1.25}\n"
	chartTemplate = "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Release.Name }}}\n"
)

var pinnedPod = strings.Replace(unpinnedPod, "nginx:1.25", "nginx:1.25@sha256:"+strings.Repeat("a", 64), 1)

// needs skips a test if the machine lacks a program, which Debian has in a package of that name.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("this machine has no %s: apt-get install %s", program, program)
	}
}

// tagpinInPath builds tagpin and makes it the first program of its name in PATH.
func tagpinInPath(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	if out, err := shell(t, "../..", "go build -o "+bin+" ./cmd/tagpin"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func shell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "bash", "-c", "set -e\n"+script)
	c.Dir = dir
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestPreCommit runs the hooks with pre-commit in a Git repository. It runs those for a tagpin in
// PATH. The others, which build tagpin, must have the same commands.
func TestPreCommit(t *testing.T) {
	needs(t, "pre-commit")
	tagpinInPath(t)
	text := read(t, "../..", ".pre-commit-hooks.yaml")
	var hooks []map[string]any
	if err := yaml.Unmarshal([]byte(text), &hooks); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		hooks[i]["language"], hooks[i]["id"] = "system", hooks[i]["id"].(string)+"-system"
	}
	for i := range 2 {
		same, _ := yaml.Marshal(hooks[i])
		if system, _ := yaml.Marshal(hooks[i+2]); string(same) != string(system) {
			t.Errorf("the hooks differ in more than their language:\n%s\n%s", same, system)
		}
	}

	t.Setenv("PRE_COMMIT_HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(t.TempDir(), "config"))
	setup := "git init -q && git config user.name a && git config user.email a@example.com && git add -A && git commit -q -m a"
	hooksRepository := t.TempDir()
	write(t, filepath.Join(hooksRepository, ".pre-commit-hooks.yaml"), text)
	if out, err := shell(t, hooksRepository, setup); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "k8s/pod.yaml"), pinnedPod)
	write(t, filepath.Join(dir, "chart/templates/pod.yaml"), chartTemplate)
	write(t, filepath.Join(dir, "other.yaml"), "a: 1\n")
	write(t, filepath.Join(dir, ".vscode/settings.json"), "{\n  // comment\n  \"a\": 1\n}\n")
	write(t, filepath.Join(dir, ".pre-commit-config.yaml"), "repos:\n- repo: "+hooksRepository+
		"\n  rev: HEAD\n  hooks:\n  - id: tagpin-check-system\n  - id: tagpin-pin-system\n")
	if out, err := shell(t, dir, setup+"\npre-commit run --all-files"); err != nil {
		t.Errorf("the hooks refuse pinned files: %v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "k8s/pod.yaml"), unpinnedPod)
	out, err := shell(t, dir, "git add -A && pre-commit run tagpin-check-system")
	if err == nil || !strings.Contains(out, "k8s/pod.yaml:6:") || !strings.Contains(out, "nginx:1.25") {
		t.Errorf("the hook on an unpinned file = %v, want it to name the line:\n%s", err, out)
	}
	write(t, filepath.Join(dir, "Dockerfile"), "FROM nginx:1.25\n")
	out, err = shell(t, dir, "git add -A && pre-commit run tagpin-check-system --files Dockerfile")
	if err == nil || !strings.Contains(out, "Dockerfile:1:") {
		t.Errorf("the hook on an unpinned Dockerfile = %v, want it to name the line:\n%s", err, out)
	}
	write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\n")
	// The registry does not exist, so the hook must fail and name the image.
	write(t, filepath.Join(dir, "k8s/pod.yaml"),
		strings.Replace(unpinnedPod, "nginx:1.25", "registry.invalid/a:1", 1))
	out, err = shell(t, dir, "git add -A && pre-commit run tagpin-pin-system")
	if err == nil || !strings.Contains(out, "registry.invalid/a:1") {
		t.Errorf("the hook on an image without a registry = %v, want it to name the image:\n%s", err, out)
	}
}

// TestPage checks that the hooks and the inputs of the action that deploy/docs/ci.md names exist.
func TestPage(t *testing.T) {
	page, hooks := read(t, "../..", "deploy/docs/ci.md"), read(t, "../..", ".pre-commit-hooks.yaml")
	action := read(t, "../..", "deploy/ci/github/action.yml")
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d blocks of YAML, want those of pre-commit and of GitHub", len(blocks))
	}
	var config struct {
		Repos []struct{ Hooks []struct{ ID string } }
	}
	var steps []struct{ With map[string]string }
	if err := yaml.Unmarshal([]byte(blocks[0][1]), &config); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(blocks[1][1]), &steps); err != nil {
		t.Fatal(err)
	}
	if id := config.Repos[0].Hooks[0].ID; !strings.Contains(hooks, "- id: "+id+"\n") {
		t.Errorf("there is no hook %s", id)
	}
	for input := range steps[1].With {
		if !strings.Contains(action, "\n  "+input+":\n") {
			t.Errorf("the action has no input %s", input)
		}
	}
}

// TestTask checks the task with the types of Tekton.
func TestTask(t *testing.T) {
	d := kyaml.NewYAMLOrJSONDecoder(strings.NewReader(read(t, "../..", "deploy/ci/tekton.yaml")), 4096)
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	var task tekton.Task
	if err := strict.Decode(&task); err != nil {
		t.Fatal(err)
	}
	task.SetDefaults(t.Context())
	if err := task.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAction checks the workflow with actionlint, and runs the steps of the action as a runner
// does.
func TestAction(t *testing.T) {
	// actionlint finds the action by its path in a repository.
	dir := t.TempDir()
	action := read(t, "../..", "deploy/ci/github/action.yml")
	write(t, filepath.Join(dir, "deploy/ci/github/action.yml"), action)
	workflow := strings.Replace(read(t, "../..", "deploy/ci/github/workflow.yaml"),
		"tagpin/tagpin/deploy/ci/github@main # or a commit", "./deploy/ci/github", 1)
	write(t, filepath.Join(dir, ".github/workflows/tagpin.yaml"), workflow)
	if out, err := shell(t, dir, "git init -q"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	linter, err := actionlint.NewLinter(os.Stderr, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := linter.LintRepository(dir); err != nil || len(found) > 0 {
		t.Errorf("actionlint: %v, %v", err, found)
	}

	var a struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(action), &a); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs("../../deploy/ci/github")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_ACTION_PATH", path)
	t.Setenv("RUNNER_TEMP", t.TempDir())
	t.Setenv("CGO_ENABLED", "0")
	write(t, filepath.Join(dir, "a;touch evil/pod.yaml"), pinnedPod)
	write(t, filepath.Join(dir, "k8s/pod.yaml"), unpinnedPod)
	runAction := func(paths string) (out string, err error) {
		values := map[string]string{"command": a.Inputs["command"].Default, "paths": paths}
		for _, step := range a.Runs.Steps {
			for name, value := range step.Env {
				for input, text := range values {
					value = strings.ReplaceAll(value, "${{ inputs."+input+" }}", text)
				}
				t.Setenv(name, value)
			}
			if out, err = shell(t, dir, step.Run); err != nil {
				return out, err
			}
		}
		return out, nil
	}
	if out, err := runAction("k8s"); err == nil || !strings.Contains(out, "::error file=k8s/pod.yaml,line=6,") {
		t.Errorf("the action on an unpinned file = %v, want a message for GitHub:\n%s", err, out)
	}
	write(t, filepath.Join(dir, "other/pod.yaml"), pinnedPod)
	for _, paths := range []string{"other\nk8s\n", "other k8s", " other\n\n  k8s other"} {
		if out, err := runAction(paths); err == nil || !strings.Contains(out, "k8s/pod.yaml,line=6,") {
			t.Errorf("the action on the paths %q = %v, want a message for GitHub:\n%s", paths, err, out)
		}
	}
	write(t, filepath.Join(dir, "k8s/pod.yaml"), pinnedPod)
	if out, err := runAction("k8s\nother\n"); err != nil {
		t.Errorf("the action on a pinned file = %v:\n%s", err, out)
	}
	if out, err := runAction("$(touch evil) ;touch evil"); err == nil {
		t.Errorf("the action on paths that do not exist = nil:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "evil")); err == nil {
		t.Error("the action ran what is in its input")
	}
}

// TestGitLab runs the last line of the job's script, which checks the files.
func TestGitLab(t *testing.T) {
	tagpinInPath(t)
	var jobs map[string]struct {
		Image     string
		Variables map[string]string
		Rules     []map[string]string
		Script    []string
	}
	if err := yaml.Unmarshal([]byte(read(t, "../..", "deploy/ci/gitlab.yaml")), &jobs); err != nil {
		t.Fatal(err)
	}
	job := jobs["tagpin"]
	if len(job.Script) != 2 {
		t.Fatalf("the script of the job tagpin is %q, want two lines", job.Script)
	}
	if want := "golang:" + strings.TrimPrefix(goVersion(t), "go "); !strings.HasPrefix(job.Image, want) {
		t.Errorf("image = %q, want %s", job.Image, want)
	}
	check := strings.Replace(job.Script[1], ".tagpin/tagpin", "tagpin", 1)
	t.Setenv("TAGPIN_PATHS", job.Variables["TAGPIN_PATHS"])
	if depth := job.Variables["GIT_DEPTH"]; depth != "0" {
		t.Errorf("GIT_DEPTH = %q, want 0, so that GitLab fetches the commit to compare with", depth)
	}
	dir := t.TempDir()
	t.Setenv("CI_MERGE_REQUEST_DIFF_BASE_SHA", "") // the pipeline is for no merge request
	if out, err := shell(t, dir, check); err == nil || !strings.Contains(out, "--base has an empty value") {
		t.Errorf("%s without a commit = %v, want it to say so:\n%s", check, err, out)
	}
	const commit = "git add . && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty " +
		"-m a && git rev-parse HEAD"
	empty, err := shell(t, dir, "git init -q && "+commit)
	if err != nil {
		t.Fatalf("%v\n%s", err, empty)
	}
	t.Setenv("CI_MERGE_REQUEST_DIFF_BASE_SHA", strings.TrimSpace(empty))
	write(t, filepath.Join(dir, "pod.yaml"), unpinnedPod)
	if out, err := shell(t, dir, check); err == nil || !strings.Contains(out, "pod.yaml:6:") {
		t.Errorf("%s = %v, want it to name the line:\n%s", check, err, out)
	}
	write(t, filepath.Join(dir, "pod.yaml"), pinnedPod)
	if out, err := shell(t, dir, check); err != nil {
		t.Errorf("%s = %v:\n%s", check, err, out)
	}
	pinned, err := shell(t, dir, commit)
	if err != nil {
		t.Fatalf("%v\n%s", err, pinned)
	}
	t.Setenv("CI_MERGE_REQUEST_DIFF_BASE_SHA", strings.TrimSpace(pinned))
	write(t, filepath.Join(dir, "pod.yaml"), strings.Replace(pinnedPod, "nginx:1.25", "nginx:1.26", 1))
	if out, err := shell(t, dir, commit+" && "+check); err == nil || !strings.Contains(out, "the tag 1.25") {
		t.Errorf("%s with an edited tag = %v, want it to name the old tag:\n%s", check, err, out)
	}
}

// goVersion returns the go directive of this module.
func goVersion(t *testing.T) string {
	for line := range strings.Lines(read(t, ".", "go.mod")) {
		if strings.HasPrefix(line, "go ") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("go.mod has no go directive")
	return ""
}
