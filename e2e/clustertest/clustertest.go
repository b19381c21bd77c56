// SPDX-License-Identifier: Apache-2.0

// Package clustertest holds the helpers that the tests of several packages share. Those that take a
// testing.TB fail the test if anything goes wrong.
package clustertest

import (
	"context"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/registry"
)

// Needs skips a test if the cluster's version of Kubernetes lacks a feature.
func Needs(t testing.TB, c *cluster.Cluster, f cluster.Feature) {
	t.Helper()
	if !c.Has(f) {
		t.Skipf("Kubernetes 1.%d has no %s; 1.%d is the first version that has them by default",
			c.Kubernetes.Minor, f, f.Since())
	}
}

// Pod returns a pod with one container, app, and the label app=name.
func Pod(name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}},
	}
}

// DryRun creates a pod as a dry run, and returns the pod that the API server would have stored.
func DryRun(
	ctx context.Context, client kubernetes.Interface, ns string, pod *corev1.Pod,
) (*corev1.Pod, error) {
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	return client.CoreV1().Pods(ns).Create(ctx, pod, dryRun)
}

// NewNamespace creates a namespace and returns its name, which begins with prefix.
func NewNamespace(
	t testing.TB, client kubernetes.Interface, prefix string, labels map[string]string,
) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix, Labels: labels}}
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// NewServiceAccount creates a service account, which may name pull secrets.
func NewServiceAccount(
	t testing.TB, client kubernetes.Interface, ns, name string, pullSecrets ...string,
) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, s := range pullSecrets {
		account.ImagePullSecrets = append(account.ImagePullSecrets,
			corev1.LocalObjectReference{Name: s})
	}
	api := client.CoreV1().ServiceAccounts(ns)
	if _, err := api.Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Push pushes a new random image as repository:tag, and returns the reference and the digest. An
// existing tag is moved.
func Push(t testing.TB, r *registry.Registry, tag string) (reference, digest string) {
	t.Helper()
	digest, err := r.PushImage(tag)
	if err != nil {
		t.Fatal(err)
	}
	return r.Host + "/" + tag, digest
}

// Metric sums the series of a metric of tagpin, as [cluster.Tagpin.Metric] does.
func Metric(t testing.TB, tagpin *cluster.Tagpin, name string, labels ...string) float64 {
	t.Helper()
	sum, err := tagpin.Metric(t.Context(), name, labels...)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// Impersonate returns a config of another user.
func Impersonate(config *rest.Config, user string, groups ...string) *rest.Config {
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return config
}

// kubectlRunner is a [cluster.Cluster] or a node.Node.
type kubectlRunner interface {
	RunKubectl(ctx context.Context, stdin io.Reader, args ...string) (stdout, stderr string, err error)
}

// Kubectl runs kubectl and returns its stdout.
func Kubectl(t testing.TB, at kubectlRunner, stdin string, args ...string) (stdout string) {
	t.Helper()
	stdout, _, err := at.RunKubectl(t.Context(), strings.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout
}
