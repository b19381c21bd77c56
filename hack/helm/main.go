// SPDX-License-Identifier: Apache-2.0

// Command helm renders deploy/kustomize from the chart with its defaults. It runs in its own folder:
//
//	cd hack/helm && go run .
//
// The module is its own, as Helm's two versions drag in much; its go.mod also pins the helm programs that e2e builds. Its
// tests render the chart with both.
package main

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

const (
	chartDir     = "../../deploy/chart"
	kustomizeDir = "../../deploy/kustomize"
	namespace    = "tagpin-system"
)

func main() { os.Exit(run(os.Stderr)) }

func run(stderr io.Writer) int {
	if err := update(); err != nil {
		fmt.Fprintf(stderr, "helm: %v\n", err)
		return 1
	}
	return 0
}

// update writes the files of kustomize, and removes those that are none of them any more.
func update() error {
	files, err := kustomize()
	if err != nil {
		return err
	}
	old, err := fs.Glob(os.DirFS(kustomizeDir), "*.yaml")
	if err != nil {
		return err
	}
	for _, name := range old {
		if _, ok := files[name]; ok {
			continue
		}
		if err := os.Remove(filepath.Join(kustomizeDir, name)); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(kustomizeDir, name), []byte(text), 0o644); err != nil { //nolint:gosec // it is for everybody
			return err
		}
	}
	return nil
}

// namespaceFile is what a chart leaves to helm install --create-namespace.
const namespaceFile = `# SPDX-License-Identifier: Apache-2.0
apiVersion: v1
kind: Namespace
metadata:
  name: ` + namespace + `
  labels:
    app.kubernetes.io/name: tagpin
    pod-security.kubernetes.io/enforce: restricted
`

// kustomize is the content of its folder, by file: one a template, a namespace, and what lists them.
func kustomize() (map[string]string, error) {
	rendered, err := render(nil)
	if err != nil {
		return nil, err
	}
	files := map[string]string{"namespace.yaml": namespaceFile}
	for name, text := range rendered {
		files[name] = text
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool { return name == "namespace.yaml" })
	files["kustomization.yaml"] = `# SPDX-License-Identifier: Apache-2.0
#
# Rendered from deploy/chart, by make docs.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- namespace.yaml
- ` + strings.Join(names, "\n- ") + "\n"
	return files, nil
}

// render is the text of each template that has any, as helm template gives it, by its file's name.
func render(values map[string]any) (map[string]string, error) { return renderIn(namespace, values) }

func renderIn(namespace string, values map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	options := common.ReleaseOptions{Name: "tagpin", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	return manifests(files), nil
}

// manifests are the templates' own texts, without notes and empty ones.
func manifests(files map[string]string) map[string]string {
	rendered := map[string]string{}
	for name, text := range files {
		if base := path.Base(name); path.Ext(base) == ".yaml" && strings.TrimSpace(text) != "" {
			rendered[base] = strings.TrimSpace(text) + "\n"
		}
	}
	return rendered
}
