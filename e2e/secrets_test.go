// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/e2e/registry"
)

// newSecret creates a pull secret for a registry with kubectl, as users do.
func newSecret(t *testing.T, ns, name, host, password string) {
	t.Helper()
	kubectl(t, "", "-n", ns, "create", "secret", "docker-registry", name,
		"--docker-server="+host, "--docker-username="+registry.User, "--docker-password="+password)
}

func addPullSecret(t *testing.T, ns, account, secret string) {
	t.Helper()
	api := env.Client.CoreV1().ServiceAccounts(ns)
	o, err := api.Get(t.Context(), account, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.ImagePullSecrets = append(o.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
	if _, err := api.Update(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// private returns the registries that require a credential.
func private() map[string]*registry.Registry {
	return map[string]*registry.Registry{"token": env.Token, "basic": env.Basic}
}

// TestPrivate pins private images, behind a token and behind a password, with the pod's own pull
// secret and with that of its service account.
func TestPrivate(t *testing.T) {
	c, _ := newClient(t)
	for auth, at := range private() {
		reference, digest := push(t, at, repository(t)+":1")
		own := podSpec(reference)
		own.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "none"}, {Name: "wrong"}, {Name: "pull"}}
		account := podSpec(reference)
		account.ServiceAccountName = "puller"
		for name, o := range map[string]client.Object{
			"Pod's":                          kinds()["Pod"](own),
			"Deployment's":                   kinds()["Deployment"](own),
			"CronJob's":                      kinds()["CronJob"](own),
			"service account's, Pod":         kinds()["Pod"](account),
			"service account's, Deployment":  kinds()["Deployment"](account),
			"service account's, StatefulSet": kinds()["StatefulSet"](account),
			"service account's, CronJob":     kinds()["CronJob"](account),
		} {
			t.Run(auth+"/"+name, func(t *testing.T) {
				ns := newNamespace(t, "enforce")
				newSecret(t, ns, "pull", at.Host, registry.Password)
				newSecret(t, ns, "wrong", at.Host, registry.WrongPassword)
				clustertest.NewServiceAccount(t, env.Client, ns, "puller", "pull")
				create(t, c, ns, o)
				wantImage(t, "image", specOf(t, o).Containers[0].Image, reference, digest)
			})
		}
	}
}

// TestNoSecret applies a Deployment before its pull secret, as one helm install may do. It is
// admitted with a warning that says what is missing, and its pods are denied. When the secret
// exists, they are pinned.
func TestNoSecret(t *testing.T) {
	for auth, at := range private() {
		t.Run(auth, func(t *testing.T) {
			c, warnings := newClient(t)
			ns := newNamespace(t, "enforce")
			reference, digest := push(t, at, repository(t)+":1")
			o := kinds()["Deployment"](podSpec(reference))
			create(t, c, ns, o)
			if got := specOf(t, o).Containers[0].Image; got != reference {
				t.Errorf("image = %s, want %s", got, reference)
			}
			if !strings.HasPrefix(warnings.String(), `admitted as it is; its pods wait until the image resolves: container "c0": can't pin `+reference+": 401 Unauthorized; check the image's name") {
				t.Errorf("warning = %q, want the container, the image and 401", warnings)
			}
			denied(t, c, ns, podSpec(reference), `container "c0": can't pin `+reference+": "+at.Host+": 401 Unauthorized; "+
				`check the image's name, or give the pod or its service account "default" an image pull secret`)
			newSecret(t, ns, "pull", at.Host, registry.Password)
			addPullSecret(t, ns, "default", "pull")
			// The API server learns of the account's secret with a delay.
			poll.Until(t, func(ctx context.Context) error {
				image, err := createPod(ctx, ns, ownedPod(reference))
				if err == nil {
					wantImage(t, "image of its pod", image, reference, digest)
				}
				return err
			})
		})
	}
}

// TestWrongSecret checks that the denial names the existing pull secrets as a cause.
func TestWrongSecret(t *testing.T) {
	c, _ := newClient(t)
	for auth, at := range private() {
		t.Run(auth, func(t *testing.T) {
			ns := newNamespace(t, "enforce")
			reference, _ := push(t, at, repository(t)+":1")
			newSecret(t, ns, "wrong", at.Host, registry.WrongPassword+"-of-"+ns) // no earlier test has tried it
			spec := podSpec(reference)
			spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "wrong"}}
			denied(t, c, ns, spec, "401 Unauthorized; check the image's name and the pod's imagePullSecrets")
		})
	}
}

// denied creates a pod, which must be denied with a text.
func denied(t *testing.T, c client.Client, ns string, spec corev1.PodSpec, text string) {
	t.Helper()
	pod := kinds()["Pod"](spec)
	pod.SetNamespace(ns)
	err := c.Create(t.Context(), pod)
	if err == nil || !strings.Contains(err.Error(), "denied the request: container") || !strings.Contains(err.Error(), text) {
		t.Errorf("creating a pod: %v, want a denial with %s", err, text)
	}
}

// TestRotatedSecret replaces a wrong password by the right one. It works at once, although the
// wrong one is cached.
func TestRotatedSecret(t *testing.T) {
	ns := newNamespace(t, "enforce")
	reference, digest := push(t, env.Basic, repository(t)+":1")
	newSecret(t, ns, "pull", env.Basic.Host, registry.WrongPassword)
	pod := ownedPod(reference)
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	if _, err := createPod(t.Context(), ns, pod); err == nil {
		t.Fatal("a pod with a wrong password was admitted")
	}
	kubectl(t, "", "-n", ns, "delete", "secret", "pull")
	newSecret(t, ns, "pull", env.Basic.Host, registry.Password)
	poll.Until(t, func(ctx context.Context) error {
		image, err := createPod(ctx, ns, pod)
		if err == nil {
			wantImage(t, "image", image, reference, digest)
		}
		return err
	})
}

// TestOtherTenant checks that a namespace without the pull secret does not get the cached digest of
// a private image.
func TestOtherTenant(t *testing.T) {
	reference, digest := push(t, env.Token, repository(t)+":1")
	mine := newNamespace(t, "enforce")
	newSecret(t, mine, "pull", env.Token.Host, registry.Password)
	pod := ownedPod(reference)
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	image, err := createPod(t.Context(), mine, pod)
	if err != nil {
		t.Fatal(err)
	}
	wantImage(t, "image", image, reference, digest)
	_, err = createPod(t.Context(), newNamespace(t, "enforce"), ownedPod(reference))
	if err == nil || strings.Contains(err.Error(), digest) {
		t.Errorf("another namespace without a secret: %v, want a denial without the digest", err)
	}
}

// TestSecretsInDryRun stores proposals with errors of lookups with a credential. leaked searches
// them after all tests.
func TestSecretsInDryRun(t *testing.T) {
	c, _ := newClient(t)
	for auth, at := range private() {
		for password, want := range map[string]string{
			registry.Password: "404 Not Found", registry.WrongPassword: "401 Unauthorized",
		} {
			t.Run(auth+"/"+want, func(t *testing.T) {
				ns := newNamespace(t, "dry-run")
				newSecret(t, ns, "pull", at.Host, password)
				spec := podSpec(at.Host + "/nowhere:1")
				spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
				pod := kinds()["Pod"](spec)
				create(t, c, ns, pod)
				if got := pod.GetAnnotations()[proposedPins]; !strings.Contains(got, "error: ") || !strings.Contains(got, want) {
					t.Errorf("%s = %s, want an error with %s", proposedPins, got, want)
				}
			})
		}
	}
}

// TestPasswordIsNowhere searches the answers, and what tagpin has logged until now, for passwords.
func TestPasswordIsNowhere(t *testing.T) {
	c, warnings := newClient(t)
	ns := newNamespace(t, "enforce")
	newSecret(t, ns, "pull", env.Basic.Host, registry.Password)
	spec := podSpec(env.Basic.Host + "/nowhere:1")
	spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	pod := kinds()["Pod"](spec)
	pod.SetNamespace(ns)
	err := c.Create(t.Context(), pod)
	if err == nil {
		t.Fatal("a missing image was admitted, want a denial")
	}
	log := env.Tagpin.Log()
	if !strings.Contains(log, ns) {
		t.Error("the log does not name the namespace")
	}
	for where, text := range map[string]string{"denial": err.Error(), "warnings": warnings.String(), "log": log} {
		if leak := find(text, env.Basic.Secrets()); leak != "" {
			t.Errorf("the %s contains the password: %q", where, leak)
		}
	}
	for _, password := range []string{registry.Password, registry.WrongPassword} {
		sent := base64.StdEncoding.EncodeToString([]byte(registry.User + ":" + password))
		secrets := env.Basic.Secrets()
		if find("plain: "+password, secrets) == "" || find("sent: "+sent, secrets) == "" {
			t.Errorf("find would not find %s", password)
		}
	}
}
