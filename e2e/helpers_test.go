// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/registry"
)

// newClient returns a client of an administrator, and the warnings that it gets.
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

// clientAs returns a client of a user.
func clientAs(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	c, err := client.New(clustertest.Impersonate(env.Config, user, groups...), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// warnings collects the warnings in the API server's answers.
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

// newNamespace creates a namespace in a mode, with the service account that pods need.
func newNamespace(t testing.TB, mode string) string {
	t.Helper()
	return newLabelled(t, cluster.ModeLabel, mode)
}

func newLabelled(t testing.TB, label, value string) string {
	t.Helper()
	ns := clustertest.NewNamespace(t, env.Client, "e2e-", map[string]string{label: value})
	clustertest.NewServiceAccount(t, env.Client, ns, "default")
	return ns
}

// push pushes a new random image as repository:tag, and returns the reference and the digest. An
// existing tag is moved.
func push(t testing.TB, r *registry.Registry, tag string) (reference, digest string) {
	t.Helper()
	return clustertest.Push(t, r, tag)
}

// repository returns a repository for a test.
func repository(t testing.TB) string {
	t.Helper()
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "#", "-").Replace(t.Name()))
}

// kubectl runs kubectl and returns its stdout.
func kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	return clustertest.Kubectl(t, env, stdin, args...)
}

// create creates an object in a namespace.
func create(t testing.TB, c client.Client, ns string, o client.Object) {
	t.Helper()
	o.SetNamespace(ns)
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatalf("creating %T: %v", o, err)
	}
}

// acceptable reports whether the webhook let a request pass: err is nil, or says that the object is
// invalid, which the API server checks after the webhook.
func acceptable(err error) bool { return err == nil || apierrors.IsInvalid(err) }

// wantImage checks that an image is text@digest.
func wantImage(t testing.TB, what, got, text, digest string) {
	t.Helper()
	if want := text + "@" + digest; got != want {
		t.Errorf("%s = %s, want %s", what, got, want)
	}
}
