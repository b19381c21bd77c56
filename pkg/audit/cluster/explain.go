// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Problem is the error of a part of the cluster that could not be read. Its text also says why,
// with the address of the API server, and what to do about it.
type Problem struct {
	Part      string // such as "listing pods in the namespace a"
	Namespace string // that could not be read; empty if all of them were listed together

	error
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.error }

// explain returns the error of a list, with what to do about it.
func (r *Reader) explain(l list, err error) *Problem {
	resource, where := l.resource, "in all namespaces"
	if l.group != "" {
		resource += "." + l.group
	}
	if l.namespace != metav1.NamespaceAll {
		where = "in the namespace " + l.namespace
	}
	text := fmt.Sprintf("listing %s %s", resource, where)
	return &Problem{text, l.namespace, r.advise(l, text, err)}
}

// advise returns the error of a list that is described by text, with what to do about it.
func (r *Reader) advise(l list, text string, err error) error {
	login, again := "login of the kubeconfig", "log in again"
	check := "check the kubeconfig and the context, and whether the cluster runs"
	if r.InPod {
		login = "token of the pod's service account"
		again = "delete the pod, so that a new one gets a new token"
		check = "check whether a NetworkPolicy keeps the pod from connecting to it, such as " +
			"networkPolicy.egress of the chart, and whether it runs"
	}
	connection := new(net.OpError)
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s is forbidden; %s", text, r.grant(l, userOf(err)))
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not accept the %s; %s", text, login, again)
	case errors.As(err, &connection):
		return fmt.Errorf("%s: the API server can't be reached (%w); %s", text, connection, check)
	}
	if slow := timeout(nil); errors.As(err, &slow) && slow.Timeout() {
		return fmt.Errorf("%s: the API server did not answer in time (%w); %s", text, err, check)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// timeout is an error that may say that a time was over, such as one of package net.
type timeout interface {
	error
	Timeout() bool
}

// over is the error of a time that was over. It says which one.
type over struct{ error }

// Timeout implements timeout.
func (over) Timeout() bool { return true }

// Unwrap returns the cause.
func (o over) Unwrap() error { return o.error }

// forbiddenUser matches the user in an API server's message about a missing permission, if a shell
// takes the name as it is.
var forbiddenUser = regexp.MustCompile(`User "([\w:@./+-]+)"`)

// userOf returns the user to whom the API server has refused a request, or NAME if it does not say.
func userOf(err error) string {
	if m := forbiddenUser.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return "NAME"
}

// serviceAccount begins the user name of a service account, before its namespace and name.
const serviceAccount = "system:serviceaccount:"

// grant returns what to do so that a user may read what an audit reads. Its commands succeed for
// each of several users, and again for the same one.
func (r *Reader) grant(l list, user string) string {
	inCluster := strings.HasPrefix(user, serviceAccount)
	commands := l.grantCommands(
		"tagpin-audit-reader", user, "list", "pods,replicasets.apps,jobs.batch")
	if r.PullSecrets { // by a role of its own, so that not everybody who audits may read secrets
		commands += " && " +
			l.grantCommands("tagpin-audit-secrets", user, "get", "secrets,serviceaccounts")
	}
	text := "somebody who may grant permissions can run: " + commands
	switch {
	case inCluster:
		return "the chart grants it, unless rbac.create is false; otherwise " + text
	case l.namespace == metav1.NamespaceAll && l.resource == "pods":
		return "name the namespaces that you may read by --namespace, or " + text
	}
	return text
}

// grantCommands returns the commands that make a role and bind a user to it. The role and the
// binding may exist.
func (l list) grantCommands(role, user, verb, resources string) string {
	const apply = " --dry-run=client -o yaml | kubectl apply -f -"
	subject, where, kind := "--user="+user, "", "clusterrole"
	if own, ok := strings.CutPrefix(user, serviceAccount); ok {
		subject, user = "--serviceaccount="+own, own
	}
	if l.namespace != metav1.NamespaceAll {
		where, kind = " --namespace="+l.namespace, "role"
	}
	binding := role + "-" + strings.ReplaceAll(user, "/", "-") // no name may have a slash
	return fmt.Sprintf("kubectl create%[1]s %[2]s %[3]s --verb=%[4]s --resource=%[5]s"+apply+
		" && kubectl create%[1]s %[2]sbinding %[6]s --%[2]s=%[3]s %[7]s"+apply,
		where, kind, role, verb, resources, binding, subject)
}
