// SPDX-License-Identifier: Apache-2.0

// Command helm renders the chart with its default values into deploy/kustomize. It must run in its
// own folder:
//
//	cd hack/helm && go run .
//
// With the argument "package", it writes the chart of a release as an archive. make release runs
// that.
//
// It uses Helm's engine and not its install action, because kustomize needs one file for each
// template, and the action joins them.
//
// This is a separate module, because Helm has many dependencies. Its tests render the chart with
// Helm 3 and Helm 4. Its go.mod also pins the helm programs that the e2e tests build.
package main

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
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

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var err error
	if len(args) > 0 && args[0] == "package" {
		err = packageChart(args[1:], stdout)
	} else {
		err = update()
	}
	if err != nil {
		fmt.Fprintf(stderr, "helm: %v\n", err)
		return 1
	}
	return 0
}

// update writes the files in deploy/kustomize, and removes files that are no longer rendered.
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
		file := filepath.Join(kustomizeDir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // not secret
			return err
		}
	}
	return nil
}

// namespaceFile is the manifest of the namespace. The chart has none, because helm install
// --create-namespace creates it.
const namespaceFile = `# SPDX-License-Identifier: Apache-2.0
apiVersion: v1
kind: Namespace
metadata:
  name: ` + namespace + `
  labels:
    app.kubernetes.io/name: tagpin
    pod-security.kubernetes.io/enforce: restricted
`

// ofHelm matches the labels that say something about a release of Helm.
var ofHelm = regexp.MustCompile(
	`(?m)^ *(helm\.sh/chart|app\.kubernetes\.io/(instance|managed-by|version)): .*\n`)

// kustomize returns the texts of the files in deploy/kustomize, by name: one for each template, the
// namespace, and the kustomization, which lists them.
func kustomize() (map[string]string, error) {
	files, err := render(nil)
	if err != nil {
		return nil, err
	}
	for name, text := range files {
		files[name] = ofHelm.ReplaceAllString(text, "")
	}
	names := slices.Sorted(maps.Keys(files))
	files["namespace.yaml"] = namespaceFile
	files["kustomization.yaml"] = `# SPDX-License-Identifier: Apache-2.0
#
# make docs renders these files from deploy/chart.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- namespace.yaml
- ` + strings.Join(names, "\n- ") + "\n"
	return files, nil
}

// render renders the chart as helm template does. It returns the texts of the templates by file
// name, without those that are empty with these values.
func render(values map[string]any) (map[string]string, error) { return renderIn(namespace, values) }

func renderIn(namespace string, values map[string]any) (map[string]string, error) {
	return renderFor(common.DefaultCapabilities, namespace, values)
}

// renderFor renders the chart for a cluster.
func renderFor(
	cluster *common.Capabilities, namespace string, values map[string]any,
) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	options := common.ReleaseOptions{
		Name: "tagpin", Namespace: namespace, Revision: 1, IsInstall: true,
	}
	all, err := util.ToRenderValues(chart, withImage(values), options, cluster)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	return manifests(files), nil
}

// overlayTag is the tag of the image in deploy/kustomize, which an overlay replaces. It is a hint
// for somebody who has no overlay and sees that the image can't be pulled.
const overlayTag = "set-by-your-overlay"

// withImage returns values with overlayTag if they have neither a tag nor a digest of the image,
// because the chart requires one of them.
func withImage(values map[string]any) map[string]any {
	image, ok := values["image"].(map[string]any)
	if _, isSet := values["image"]; isSet && !ok || image["tag"] != nil || image["digest"] != nil {
		return values
	}
	all, tagged := map[string]any{}, map[string]any{"tag": overlayTag}
	maps.Copy(all, values)
	for name, value := range image {
		if name != "tag" {
			tagged[name] = value
		}
	}
	all["image"] = tagged
	return all
}

// manifests returns the texts of the rendered manifests that are not empty, by file name.
func manifests(files map[string]string) map[string]string {
	rendered := map[string]string{}
	for name, text := range files {
		if base := path.Base(name); path.Ext(base) == ".yaml" && strings.TrimSpace(text) != "" {
			rendered[base] = strings.TrimSpace(text) + "\n"
		}
	}
	return rendered
}
