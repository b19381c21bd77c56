// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/registry"
)

// newClient is an administrator's client. It collects warnings.
func newClient(t testing.TB) (client.Client, *warnings) {
	t.Helper()
	seen := &warnings{}
	config := rest.CopyConfig(env.Config)
	config.WarningHandler = seen
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, seen
}

// clientAs is a client of some user.
func clientAs(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	config := rest.CopyConfig(env.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// warnings are those of the API server's answers.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.texts, "\n")
}

// newNamespace makes a namespace of a mode, with the service account that the API server wants of pods. It goes with the
// environment.
func newNamespace(t testing.TB, mode string) string { return newLabelled(t, cluster.ModeLabel, mode) }

func newLabelled(t testing.TB, label, value string) string {
	t.Helper()
	ctx := t.Context()
	ns, err := env.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-", Labels: map[string]string{label: value},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	newServiceAccount(t, ns.Name, "default")
	return ns.Name
}

func newServiceAccount(t testing.TB, ns, name string, pullSecrets ...string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, s := range pullSecrets {
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	if _, err := env.Client.CoreV1().ServiceAccounts(ns).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// push pushes a new image as repository:tag of a registry and returns the reference and the digest. Pushed again, the
// tag has moved.
func push(t testing.TB, r *registry.Registry, tag string) (reference, digest string) {
	t.Helper()
	digest, err := r.PushImage(tag)
	if err != nil {
		t.Fatal(err)
	}
	return r.Host + "/" + tag, digest
}

// repository is a repository of the test's own.
func repository(t testing.TB) string {
	t.Helper()
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "#", "-").Replace(t.Name()))
}

// kubectl runs kubectl, which has to succeed, and returns its stdout.
func kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	stdout, _, err := env.RunKubectl(t.Context(), strings.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout
}

// create creates an object in a namespace; it has to succeed.
func create(t testing.TB, c client.Client, ns string, o client.Object) {
	t.Helper()
	o.SetNamespace(ns)
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatalf("creating %T: %v", o, err)
	}
}

// acceptable tells an answer that says nothing against the webhook: success, or that the object is invalid, which the API
// server finds after it.
func acceptable(err error) bool { return err == nil || apierrors.IsInvalid(err) }

// wantImage compares a reference with text@digest.
func wantImage(t testing.TB, what, got, text, digest string) {
	t.Helper()
	if want := text + "@" + digest; got != want {
		t.Errorf("%s = %s, want %s", what, got, want)
	}
}
