// SPDX-License-Identifier: Apache-2.0

package manifest

import "go.yaml.in/yaml/v3"

// isWorkflow reports whether a document is a workflow of GitHub Actions.
func isWorkflow(_ *File, n *yaml.Node) bool {
	jobs := get(n, "jobs")
	return jobs != nil && jobs.Kind == yaml.MappingNode && get(n, "on") != nil
}

// findWorkflow finds the containers of jobs and services, and the steps that are images.
func findWorkflow(_ *walk, root cursor) {
	root.get("jobs").each("jobs", func(job cursor) {
		job.get("container").whole("")
		job.get("container").get("image").whole("")
		job.get("services").each("services", func(service cursor) { service.get("image").whole("") })
		job.get("steps").each("steps", func(step cursor) { step.get("uses").whole(docker) })
	})
}

// docker is what precedes an image in uses of a step.
const docker = "docker://"

// isAction reports whether a document is the metadata of an action (action.yml).
func isAction(_ *File, n *yaml.Node) bool { return text(get(get(n, "runs"), "using")) != "" }

func findAction(_ *walk, root cursor) {
	runs := root.get("runs")
	runs.get("image").whole(docker)
	runs.get("steps").each("steps", func(step cursor) { step.get("uses").whole(docker) })
}
