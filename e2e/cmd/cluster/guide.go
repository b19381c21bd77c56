// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/registry"
)

// guide returns the text that says what to try.
func guide(c *cluster.Cluster) string {
	return strings.NewReplacer(
		"$KUBECONFIG_FILE", c.Kubeconfig, "$KUBECTL", c.Kubectl, "$BIN", filepath.Dir(c.Kubectl),
		"$OPEN", c.Open.Host, "$PRIVATE", c.Token.Host,
		"$USER", registry.User, "$PASSWORD", registry.Password,
		"$TAG", movingTag, "$LOG", c.Tagpin.LogFile, "$METRICS", c.Tagpin.MetricsURL,
	).Replace(text)
}

const text = `
A Kubernetes API server with tagpin as its webhook is running. There are no nodes and no controllers, so no pod runs.

  kubeconfig  $KUBECONFIG_FILE
  kubectl     $KUBECTL
  tagpin      log $LOG, metrics $METRICS

In another terminal:

  export KUBECONFIG=$KUBECONFIG_FILE PATH=$BIN:"$PATH"

A tag gets the digest that it has now:

  kubectl -n enforce create deployment web --image=$OPEN/$TAG
  kubectl -n enforce get deployment web -o yaml | grep -e image: -e tagpin.dev

Press Enter in this terminal to move the tag. What is pinned stays, even if the tag is written again. A new object gets the new digest:

  kubectl -n enforce set image deployment/web web=$OPEN/$TAG
  kubectl -n enforce create deployment fresh --image=$OPEN/$TAG
  kubectl -n enforce get deployments -o wide

Another tag is another image:

  kubectl -n enforce set image deployment/web web=$OPEN/shop/web:2

A proposal instead of a pin, in a namespace whose label tagpin.dev/mode is dry-run:

  kubectl -n dry-run create cronjob report --schedule=@daily --image=$OPEN/shop/report:nightly
  kubectl -n dry-run get cronjob report -o yaml | grep -e image: -e tagpin.dev

A private image, without its pull secret and with it:

  kubectl -n enforce run private --image=$PRIVATE/private/app:1
  kubectl -n enforce create secret docker-registry pull --docker-server=$PRIVATE --docker-username=$USER --docker-password=$PASSWORD
  kubectl -n enforce patch serviceaccount default -p '{"imagePullSecrets":[{"name":"pull"}]}'
  kubectl -n enforce run private --image=$PRIVATE/private/app:1

Ctrl-C ends it and removes everything.
`
