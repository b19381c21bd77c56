// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// isWorkflow reports whether a document is a workflow of GitHub Actions.
func isWorkflow(_ *File, n *yaml.Node) bool {
	jobs := get(n, "jobs")
	return jobs != nil && jobs.Kind == yaml.MappingNode && get(n, "on") != nil
}

// findWorkflow finds the containers of jobs and services, and the steps that are images.
func findWorkflow(_ *walk, root cursor) {
	root.get("jobs").each("jobs", func(job cursor) {
		job.get("container").container()
		job.get("services").each("services", cursor.container)
		job.get("steps").each("steps", func(step cursor) { step.get("uses").afterDocker() })
	})
}

// isAction reports whether a document is the metadata of an action (action.yml).
func isAction(_ *File, n *yaml.Node) bool { return text(get(get(n, "runs"), "using")) != "" }

func findAction(_ *walk, root cursor) {
	runs := root.get("runs")
	runs.get("image").afterDocker()
	runs.get("steps").each("steps", func(step cursor) { step.get("uses").afterDocker() })
}

// container adds the reference of a container, which is a text or has an image. The runner removes
// docker:// before it (ConvertToJobContainer in actions/runner).
func (c cursor) container() {
	for _, image := range []cursor{c, c.get("image")} {
		image.whole(docker(image.text()))
	}
}

// afterDocker adds the reference that a text has after docker://. A text without that is no image.
func (c cursor) afterDocker() {
	if prefix := docker(c.text()); prefix != "" {
		c.whole(prefix)
	}
}

// docker returns the docker:// with which a text begins, or "". The runner ignores its case in
// actions (ActionManager.cs in actions/runner).
func docker(text string) string {
	const prefix = "docker://"
	if len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix) {
		return text[:len(prefix)]
	}
	return ""
}
