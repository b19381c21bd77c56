// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

const aboutLogins = `tagpin uses the logins that docker login, podman login and their relatives have stored. It looks for
the login of an image in these places, and takes the first one:

  DOCKER_AUTH_CONFIG                             the content of such a file
  REGISTRY_AUTH_FILE                             the path of a file; then no other file is read
  $XDG_RUNTIME_DIR/containers/auth.json          podman's, on Linux; if the variable is not set,
                                                 /run/containers/UID/auth.json
  ~/.config/containers/auth.json                 podman's, below $XDG_CONFIG_HOME if that is set
  ~/.docker/config.json                          Docker's, in $DOCKER_CONFIG if that is set
  ~/.dockercfg

Within a file, a helper in credHelpers for the host decides. If there is none, the entry for the
repository or the longest path above it counts: quay.io/org/app, then quay.io/org. After these come
the helper in credsStore, unless credHelpers has the host with an empty name, and the entry for the
host. A login for a path is sent for images below it only.

A helper is asked once for each host, for up to 30 seconds. If it fails, tagpin says why and goes on
without the login, because the image may be public. A login that a registry refuses is followed by
an attempt without one.`

// newLoginsTopic returns a help topic. It is no command, since it can't be run.
func newLoginsTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "logins",
		Short: "How tagpin finds the logins for registries",
		Long:  aboutLogins,
	}
}
