// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

const aboutKinds = `tagpin knows the images in the kinds of Kubernetes, and in those of a file that --config names. To make
other kinds known, write this file, with the entries that the messages of tagpin check and tagpin
pin give:

  apiVersion: tagpin.dev/v1alpha1
  kind: Config
  templates:
  - {group: argoproj.io, kind: Rollout, paths: [spec.template]}
  - {group: tekton.dev, kind: Task, images: ["spec.steps[*].image"]}

"paths" are the paths to pod templates, and "images" are those to fields that have an image. A path
has [*] for each element of a list. Each kind has one entry, with all of its paths.

  tagpin config validate tagpin.yaml
  tagpin check --config tagpin.yaml k8s/

The webhook has the same file, so a config that it has already is the one to extend. The file may
have other fields too, such as exemptImages; pkg/config/README.md in the source code explains all of
them.`

// newKindsTopic returns a help topic. It is no command, since it can't be run.
func newKindsTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "kinds",
		Short: "How to make further kinds of objects known to tagpin",
		Long:  aboutKinds,
	}
}
