// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	imageDigest = "sha256:a484819eb60211f5299034ac80f6a681b06f89e65866ce91f356ed7c72af059c"
	releaseHelm = "package --version 1.2.3 --tag v1.2.3 --epoch 1700000000 --digest " + imageDigest
)

// packaged packages the chart and returns the path of the archive.
func packaged(t *testing.T) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append(strings.Fields(releaseHelm), "--output", t.TempDir())
	if code := run(args, &stdout, &stderr); code != 0 {
		t.Fatalf("run(%q) = %d: %s", args, code, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

// TestPackage checks that helm renders the packaged chart with no values, and that it then installs
// the image of the release by its digest. The repository's chart requires values.
func TestPackage(t *testing.T) {
	archive := packaged(t)
	if got := filepath.Base(archive); got != "tagpin-1.2.3.tgz" {
		t.Errorf("the archive is %s, want tagpin-1.2.3.tgz", got)
	}
	for _, helm := range []string{"helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v4/cmd/helm"} {
		out, err := exec.CommandContext(t.Context(), "go", "run", helm, "template", "tagpin", archive,
			"--kube-version", "1.30.0", "--show-only", "templates/deployment.yaml").CombinedOutput()
		want := "image: \"ghcr.io/tagpin/tagpin-webhook@" + imageDigest + "\"\n"
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s template = %v, want %q in\n%s", helm, err, want, out)
		}
	}
	chart := showChart(t, archive)
	if chart.Version != "1.2.3" || chart.AppVersion != "v1.2.3" {
		t.Errorf("version %q, appVersion %q, want 1.2.3 and v1.2.3", chart.Version, chart.AppVersion)
	}
	want := "- name: tagpin-webhook\n  image: ghcr.io/tagpin/tagpin-webhook:v1.2.3@" + imageDigest + "\n"
	if got := chart.Annotations["artifacthub.io/images"]; got != want {
		t.Errorf("artifacthub.io/images = %q, want %q", got, want)
	}
}

type chartFile struct {
	Version, AppVersion string
	Annotations         map[string]string
}

func showChart(t *testing.T, archive string) (c chartFile) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "run", "helm.sh/helm/v4/cmd/helm", "show", "chart",
		archive).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPackageAgain checks that the archive does not depend on when the files were written.
func TestPackageAgain(t *testing.T) {
	first, err := os.ReadFile(packaged(t))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "deploy", "chart")
	if err := os.CopyFS(copied, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	past := time.Unix(1, 0)
	if err := os.Chtimes(filepath.Join(copied, "values.yaml"), past, past); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(copied, "../../hack/helm")
	if err := os.MkdirAll(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(elsewhere)
	second, err := os.ReadFile(packaged(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the chart of one commit has two archives")
	}
}

// TestPackageRefuses checks that a chart is not packaged without its image.
func TestPackageRefuses(t *testing.T) {
	for _, flag := range []string{"--version 1.2.3", "--tag v1.2.3", "--digest " + imageDigest, "--epoch 1700000000"} {
		var stderr bytes.Buffer
		args := strings.Fields(strings.Replace(releaseHelm, flag, "", 1) + " --output " + t.TempDir())
		if code := run(args, &stderr, &stderr); code != 1 {
			t.Errorf("run(%q) = %d, want 1", args, code)
		}
	}
}

// entry is an entry of a list in an annotation for Artifact Hub. Each list has some of the fields.
type entry struct {
	Name, URL, Image, Kind, Description string
	Links                               []entry
}

// TestArtifactHub checks the annotations that
// https://artifacthub.io/docs/topics/annotations/helm describes. Artifact Hub ignores those that it
// can't read.
func TestArtifactHub(t *testing.T) {
	annotations := showChart(t, packaged(t)).Annotations
	lists := map[string][]entry{}
	for name, text := range annotations {
		switch name {
		case "artifacthub.io/changes", "artifacthub.io/images", "artifacthub.io/links":
			var list []entry
			if err := yaml.UnmarshalStrict([]byte(text), &list); err != nil || len(list) == 0 {
				t.Errorf("%s: %d entries, %v", name, len(list), err)
			}
			lists[name] = list
		case "artifacthub.io/category", "artifacthub.io/license":
		case "artifacthub.io/prerelease":
			if text != "false" {
				t.Errorf("%s of 1.2.3 = %s", name, text)
			}
		default:
			t.Errorf("%s is not an annotation that this test knows", name)
		}
	}
	kinds := []string{"added", "changed", "deprecated", "removed", "fixed", "security"}
	for _, change := range lists["artifacthub.io/changes"] {
		if !slices.Contains(kinds, change.Kind) || change.Description == "" {
			t.Errorf("%+v is not a change of one of the kinds %q", change, kinds)
		}
	}
	const main = "https://github.com/tagpin/tagpin/blob/main/"
	for _, link := range lists["artifacthub.io/links"] {
		file, ours := strings.CutPrefix(link.URL, main)
		if _, err := os.Stat(filepath.Join("../..", file)); link.Name == "" || ours && err != nil {
			t.Errorf("the link %+v leads nowhere: %v", link, err)
		}
	}
}
