// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// explain returns the error of a list, with what to do about it.
func (l list) explain(err error) error {
	resource, where := l.resource, "in all namespaces"
	if l.group != "" {
		resource += "." + l.group
	}
	role, binding := "clusterrole", "clusterrolebinding"
	if l.namespace != metav1.NamespaceAll {
		where, role = "in the namespace "+l.namespace, "role"
		binding = "rolebinding"
	}
	text := fmt.Sprintf("listing %s %s", resource, where)
	connection := new(net.OpError)
	switch {
	case apierrors.IsForbidden(err):
		next := fmt.Sprintf("grant the verb list on %s: kubectl create %s tagpin-audit --verb=list "+
			"--resource=pods,replicasets.apps,jobs.batch, and a %s of it", resource, role, binding)
		if l.namespace == metav1.NamespaceAll && l.resource == "pods" {
			next += "; or name the namespaces that you may read by --namespace"
		}
		return fmt.Errorf("%s is forbidden; %s", text, next)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not accept the login of the kubeconfig; "+
			"log in again", text)
	case errors.As(err, &connection):
		return fmt.Errorf("%s: the API server can't be reached (%w); check the kubeconfig and the "+
			"context, and whether the cluster runs", text, connection)
	}
	return fmt.Errorf("%s: %w", text, err)
}
