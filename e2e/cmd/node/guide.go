// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/tagpin/tagpin/e2e/node"
)

// guide returns the text that says what to try.
func guide(ctx context.Context, n *node.Node) (string, error) {
	kubeconfig, err := n.Kubeconfig(ctx)
	if err != nil {
		return "", err
	}
	kubectl := n.Kubectl()
	return strings.NewReplacer(
		"$KUBECONFIG_FILE", kubeconfig, "$KUBECTL", kubectl, "$BIN", filepath.Dir(kubectl),
		"$IMAGE", n.Registry.Host+"/"+movingTag, "$OTHER", n.Registry.Host+"/"+otherTag,
		"$LOGS", filepath.Join(n.Dir, "logs"), "$NAMESPACE", node.TagpinNamespace,
	).Replace(text), nil
}

// The test runs the lines that begin with "  kubectl" or "  for", and types what the lines that
// begin with "In this terminal" say.
const text = `
A whole Kubernetes cluster with one node is running, and tagpin is installed in it by its chart. Its programs run in namespaces of their own: nothing else on this machine is changed.

  kubeconfig  $KUBECONFIG_FILE
  kubectl     $KUBECTL
  logs        $LOGS

In another terminal, as the same user:

  export KUBECONFIG=$KUBECONFIG_FILE PATH=$BIN:"$PATH"

1. Deploy by a tag. tagpin writes the digest that the tag has now into the Deployment. The program answers with its version:

  kubectl -n shop create deployment web --replicas=2 --image=$IMAGE
  kubectl -n shop rollout status deployment/web
  kubectl -n shop get deployment web -o yaml | grep -e image: -e tagpin.dev
  kubectl get --raw /api/v1/namespaces/shop/pods/$(kubectl -n shop get pods -l app=web -o jsonpath='{.items[0].metadata.name}'):8080/proxy/

2. Move the tag.

In this terminal: press Enter

3. Delete a pod. The one that replaces it runs the same digest as the other, although the tag has moved:

  kubectl -n shop delete pod $(kubectl -n shop get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
  kubectl -n shop rollout status deployment/web
  kubectl -n shop get pods -l app=web -o custom-columns='POD:.metadata.name,RUNS:.status.containerStatuses[0].imageID'

4. Restart. Now the new image is wanted, and all pods run it:

  kubectl -n shop rollout restart deployment/web
  kubectl -n shop rollout status deployment/web
  kubectl get --raw /api/v1/namespaces/shop/pods/$(kubectl -n shop get pods -l app=web --sort-by=.metadata.creationTimestamp -o name | tail -n 1 | cut -d/ -f2):8080/proxy/

5. Undo. The previous revision runs its own digest, which the tag does not name any more:

  kubectl -n shop rollout undo deployment/web
  kubectl -n shop rollout status deployment/web
  kubectl get --raw /api/v1/namespaces/shop/pods/$(kubectl -n shop get pods -l app=web --sort-by=.metadata.creationTimestamp -o name | tail -n 1 | cut -d/ -f2):8080/proxy/

6. Break the registry.

In this terminal: type down

What is pinned restarts and scales without it. A new tag has to wait: the Deployment is admitted with a warning, and its pods are denied until the registry is back:

  kubectl -n shop scale deployment web --replicas=3
  kubectl -n shop rollout status deployment/web
  kubectl -n shop create deployment new --image=$OTHER

7. Read the denial, the line of the log, and the metric. The denial is in the events of the namespace:

  kubectl -n shop get events --field-selector reason=FailedCreate
  kubectl -n $NAMESPACE logs -l app.kubernetes.io/component=webhook --ignore-errors --tail=-1 | grep '"verdict":"denied"'
  for pod in $(kubectl -n $NAMESPACE get pods -o name | cut -d/ -f2); do kubectl get --raw /api/v1/namespaces/$NAMESPACE/pods/$pod:8080/proxy/metrics | grep '^tagpin_resolve_lookups_total.*unavailable'; done

8. Repair the registry. The controller tries again, and the pod starts:

In this terminal: type up

  kubectl -n shop rollout status deployment/new

Ctrl-C ends it and removes everything.
`
