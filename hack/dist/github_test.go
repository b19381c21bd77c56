// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"github.com/tailscale/hujson"
	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// uses matches a step with an action, and pinned one whose action is pinned to a commit, with its
// version as a comment.
var (
	uses   = regexp.MustCompile(`(?m)^.*\buses: .*$`)
	pinned = regexp.MustCompile(`uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
)

// TestWorkflows checks this project's own workflows with actionlint, that they run the Makefile's
// targets, and that their actions are pinned.
func TestWorkflows(t *testing.T) {
	linter, err := actionlint.NewLinter(os.Stderr, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("../../.github/workflows/*.yaml")
	if err != nil || len(names) != 2 {
		t.Fatalf("the workflows are %q, %v, want two", names, err)
	}
	found, err := linter.LintFiles(names, nil)
	if err != nil || len(found) > 0 {
		t.Errorf("actionlint: %v, %v", err, found)
	}
	for _, name := range names {
		for _, line := range uses.FindAllString(read(t, "", name), -1) {
			if !pinned.MatchString(line) {
				t.Errorf("%s: the action is not pinned to a commit, with its version as a comment: %s", name, line)
			}
		}
	}
	ci := read(t, "../../.github/workflows", "ci.yaml")
	parts := regexp.MustCompile(`(?m)^test: .* ## (.*); CI runs these`)
	list := parts.FindStringSubmatch(read(t, "../..", "Makefile"))[1]
	for _, part := range strings.Split(strings.ReplaceAll(list, " and ", ", "), ", ") {
		if !strings.Contains(ci, "{target: "+part) {
			t.Errorf("ci.yaml does not run make %s, which is part of make test", part)
		}
	}
}

// form is an issue form. GitHub's page "Syntax for issue forms" describes it.
type form struct {
	Name, Description string
	Labels            []string
	Body              []struct {
		Type, ID   string
		Attributes struct {
			Label, Description, Placeholder, Render string
			Options                                 []string
		}
		Validations struct{ Required bool }
	}
}

// TestForms checks the forms for issues, which GitHub does not show if they have a mistake. Each
// asks for the version.
func TestForms(t *testing.T) {
	names, err := filepath.Glob("../../.github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(names) != 4 {
		t.Fatalf("the forms are %q, %v, want three and config.yml", names, err)
	}
	for _, name := range names {
		if filepath.Base(name) == "config.yml" {
			continue
		}
		var f form
		d := yaml.NewDecoder(strings.NewReader(read(t, "", name)))
		d.KnownFields(true)
		if err := d.Decode(&f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if f.Name == "" || f.Description == "" {
			t.Errorf("%s has no name or no description", name)
		}
		seen := map[string]bool{}
		for _, field := range f.Body {
			if seen[field.ID] || field.ID == "" || field.Attributes.Label == "" ||
				!slices.Contains([]string{"input", "textarea", "dropdown"}, field.Type) ||
				(field.Type == "dropdown") != (len(field.Attributes.Options) > 0) {
				t.Errorf("%s: %+v is not a field, or one of two with this id", name, field)
			}
			seen[field.ID] = true
		}
		if !seen["version"] {
			t.Errorf("%s does not ask for the version", name)
		}
	}
}

// TestContributing checks that the tests that CONTRIBUTING.md names exist, and the targets of the
// Makefile with their times.
func TestContributing(t *testing.T) {
	page, makefile := read(t, "../../.github", "CONTRIBUTING.md"), read(t, "../..", "Makefile")
	commands := regexp.MustCompile(`(?m)^go test .*$`).FindAllString(page, -1)
	if len(commands) < 3 {
		t.Errorf("the page has %d commands go test, want at least 3", len(commands))
	}
	for _, c := range commands {
		m := regexp.MustCompile(`^go test (?:-\S+ )*\./(\S+)(?: -run '(Test\w+)/\w+')?$`).FindStringSubmatch(c)
		if m == nil {
			t.Errorf("%s: want go test ./FOLDER [-run TEST/CASE]", c)
			continue
		}
		out, err := shell(t, "../..", "grep -l 'func "+m[2]+"' "+m[1]+"/*_test.go")
		if err != nil {
			t.Errorf("%s: %s has no such test: %v %s", c, m[1], err, out)
		}
	}
	for _, m := range regexp.MustCompile("`make ([a-z0-9-]+)").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(makefile, "\n"+m[1]+": ") {
			t.Errorf("there is no make %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `make ([a-z0-9-]+)` \\|.*\\| (.*) \\| (.*) \\|$").FindAllStringSubmatch(page, -1) {
		says := regexp.MustCompile(`\$\(call say,` + m[1] + `: .*,` + m[2] + `,` + m[3] + `\)`)
		if !says.MatchString(strings.ReplaceAll(makefile, "; builds Kubernetes the first time", "")) {
			t.Errorf("make %s does not say that it takes %s and %s", m[1], m[2], m[3])
		}
	}
}

// renovate has the parts of Renovate's config that TestRenovate compares with this repository.
type renovate struct {
	CustomManagers []struct {
		ManagerFilePatterns, MatchStrings []string
	}
	PackageRules []struct {
		GroupName         string
		MatchFileNames    []string
		MatchPackageNames []string
		Enabled           *bool
	}
}

// TestRenovate checks that the patterns in the config for updates match files of this repository,
// that the group of Kubernetes has each module that e2e replaces by that version, and that older
// versions of Kubernetes stay. CI validates the config itself.
func TestRenovate(t *testing.T) {
	text, err := hujson.Standardize([]byte(read(t, "../../.github", "renovate.json5")))
	if err != nil {
		t.Fatal(err)
	}
	var c renovate
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	out, err := shell(t, "../..", "git ls-files --cached --others --exclude-standard")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := strings.Fields(out)
	for _, m := range c.CustomManagers {
		for _, pattern := range m.ManagerFilePatterns {
			i := slices.IndexFunc(files, regexp.MustCompile(strings.Trim(pattern, "/")).MatchString)
			if i < 0 || !regexp.MustCompile(m.MatchStrings[0]).MatchString(read(t, "../..", files[i])) {
				t.Errorf("%s finds no file, or %q nothing in it", pattern, m.MatchStrings)
			}
		}
	}
	var fixed []string
	for _, rule := range c.PackageRules {
		if rule.Enabled != nil && !*rule.Enabled {
			fixed = append(fixed, rule.MatchFileNames...)
		}
		for _, name := range rule.MatchFileNames {
			if !slices.ContainsFunc(files, func(f string) bool { ok, _ := path.Match(name, f); return ok }) {
				t.Errorf("a rule is about %s, which does not exist", name)
			}
		}
		if rule.GroupName == "Kubernetes" {
			testKubernetes(t, rule.MatchPackageNames)
		}
	}
	testOlderKubernetes(t, fixed)
}

// testKubernetes checks that e2e replaces the modules of Kubernetes by one version, and that the
// patterns match exactly these modules.
func testKubernetes(t *testing.T, patterns []string) {
	t.Helper()
	mod, err := modfile.Parse("go.mod", []byte(read(t, "../../e2e", "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	one := map[string]bool{}
	for _, r := range mod.Replace {
		if strings.HasPrefix(r.Old.Path, "k8s.io/") {
			one[r.Old.Path], one[r.New.Version] = true, true
		}
	}
	versions := 0
	for name := range one {
		if strings.HasPrefix(name, "v") {
			versions++
		}
	}
	if versions != 1 {
		t.Errorf("e2e replaces the modules of Kubernetes by %d versions, want one", versions)
	}
	for _, r := range mod.Require {
		name := r.Mod.Path
		if !strings.HasPrefix(name, "k8s.io/") {
			continue
		}
		if got, want := matches(patterns, name), one[name] || name == "k8s.io/kubernetes"; got != want {
			t.Errorf("the group of Kubernetes has %s: %t, want %t", name, got, want)
		}
	}
}

// testOlderKubernetes checks that each module in e2e/versions pins the Kubernetes that its folder
// names, replaces all modules by that version, and is not updated.
func testOlderKubernetes(t *testing.T, fixed []string) {
	t.Helper()
	files, err := filepath.Glob("../../e2e/versions/*/go.mod")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules in e2e/versions: %v", err)
	}
	for _, file := range files {
		name := strings.TrimPrefix(filepath.ToSlash(file), "../../")
		matches := func(glob string) bool { ok, _ := path.Match(glob, name); return ok }
		if !slices.ContainsFunc(fixed, matches) {
			t.Errorf("no rule keeps the versions of %s as they are", name)
		}
		mod, err := modfile.Parse("go.mod", []byte(read(t, "", file)), nil)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(mod.Require, func(r *modfile.Require) bool { return r.Mod.Path == "k8s.io/kubernetes" })
		if i < 0 {
			t.Errorf("%s requires no k8s.io/kubernetes", name)
			continue
		}
		version := mod.Require[i].Mod.Version
		if minor := "v" + filepath.Base(filepath.Dir(file)); semver.MajorMinor(version) != minor {
			t.Errorf("%s requires Kubernetes %s, want %s as its folder says", name, version, minor)
		}
		replaced := 0
		for _, r := range mod.Replace {
			if !strings.HasPrefix(r.Old.Path, "k8s.io/") {
				continue
			}
			replaced++
			if want := "v0." + strings.TrimPrefix(version, "v1."); r.New.Version != want {
				t.Errorf("%s replaces %s by %s, want %s", name, r.Old.Path, r.New.Version, want)
			}
		}
		if replaced < 30 {
			t.Errorf("%s replaces %d modules of Kubernetes, want at least 30", name, replaced)
		}
	}
}

// matches reports whether one of Renovate's patterns matches a name, and no pattern that begins
// with an exclamation mark does.
func matches(patterns []string, name string) (ok bool) {
	for _, pattern := range patterns {
		pattern, not := strings.CutPrefix(pattern, "!")
		prefix, all := strings.CutSuffix(pattern, "/**")
		found := pattern == name || all && strings.HasPrefix(name, prefix+"/")
		if found && not {
			return false
		}
		ok = ok || found
	}
	return ok
}

// command returns a command that ends with the test.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), name, args...)
}

// read returns the text of a file in a folder.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
