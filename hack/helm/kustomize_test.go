// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKustomizeIsRendered checks that deploy/kustomize is up to date with the chart.
func TestKustomizeIsRendered(t *testing.T) {
	want, err := kustomize()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(os.DirFS(kustomizeDir), "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, ok := want[name]; !ok {
			t.Errorf("deploy/kustomize/%s is not rendered from the chart: run make docs", name)
		}
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(kustomizeDir, name))
		if err != nil || string(got) != text {
			t.Errorf("deploy/kustomize/%s is out of date: run make docs (%v)", name, err)
		}
	}
}

func TestRunWithoutAChart(t *testing.T) {
	t.Chdir(t.TempDir())
	var stderr bytes.Buffer
	if code := run(nil, &stderr, &stderr); code != 1 || !strings.HasPrefix(stderr.String(), "helm: ") {
		t.Errorf("run without a chart = %d, %q, want 1 and an error", code, stderr.String())
	}
}
