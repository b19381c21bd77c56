// SPDX-License-Identifier: Apache-2.0

package manifest

import "regexp"

// External is a chart or a base that a file names and another program fetches. Its images are not
// in the file.
type External struct {
	Line, Column int
	Name         string // the chart, or the URL of the base
	Base         bool   // it is a base of kustomize, and not a chart
}

// addExternal adds a chart or a base that the node of the cursor names, unless the file says that
// it is ignored.
func (c cursor) addExternal(name string, base bool) {
	p := place{scalar: c.asScalar()}
	if name == "" || c.file.ignored(p) {
		return
	}
	line, column := c.file.position(p)
	c.file.External = append(c.file.External, External{line, column, cut(name), base})
}

// field is like get, but a mapping may have the key twice, which changes no image in the file.
func (c cursor) field(name string) cursor {
	child := cursor{
		walk: c.walk, use: use{parent: c.node}, pointer: c.pointer.AppendToken(name),
	}
	child.key, child.node = c.file.pair(c.node, name)
	return child
}

// addReleaseChart adds the chart of a HelmRelease of Flux.
func addReleaseChart(spec cursor) {
	chart, other := spec.field("chart").field("spec"), spec.field("chartRef").field("name")
	other.addExternal(other.text(), false)
	switch chart.field("sourceRef").field("kind").text() {
	case "GitRepository", "Bucket": // the chart is a folder there, which may be the one that is read
	default:
		name := chart.field("chart")
		name.addExternal(name.text(), false)
	}
}

// remoteBase matches what kustomize fetches: a URL, or a Git repository in one of its short forms.
var remoteBase = regexp.MustCompile(
	`(?i)^([a-z+]+:[/:]|[^/]+@[^/]+:|(github|gitlab|bitbucket)\.(com|org)/)|[?&](ref|version)=`)

// addFetched adds the charts and the bases that kustomize fetches for a Kustomization. It ignores
// the case of keys.
func addFetched(root cursor) {
	root.each("fetched", func(field cursor) {
		switch {
		case field.isAt("resources", "bases", "components"):
			field.each("fetched bases", func(base cursor) {
				if remoteBase.MatchString(base.text()) {
					base.addExternal(base.text(), true)
				}
			})
		case field.isAt("helmCharts", "helmChartInflationGenerator"):
			field.each("fetched charts", addFetchedChart)
		}
	})
}

// addFetchedChart adds the chart of a Kustomization or of a HelmChartInflationGenerator, if it is
// in a repository of charts, and not in a folder.
func addFetchedChart(chart cursor) {
	var name, repo cursor
	chart.each("fetched chart", func(field cursor) {
		switch {
		case field.isAt("name", "chartName"):
			name = field
		case field.isAt("repo", "chartRepoUrl"):
			repo = field
		}
	})
	if repo.text() != "" {
		name.addExternal(name.text(), false)
	}
}
