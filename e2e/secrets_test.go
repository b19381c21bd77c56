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

	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/e2e/registry"
)

// newSecret makes a pull secret for a registry by kubectl, as people do.
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

// private are the registries that ask who it is.
func private() map[string]*registry.Registry {
	return map[string]*registry.Registry{"token": env.Token, "basic": env.Basic}
}

// TestPrivate pins private images, behind a token and behind a password, by the pod's own secret and by its service
// account's.
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
				newServiceAccount(t, ns, "puller", "pull")
				create(t, c, ns, o)
				wantImage(t, "image", specOf(t, o).Containers[0].Image, reference, digest)
			})
		}
	}
}

// TestNoSecret defers what no credential opens, and says what is missing: the secret may come a little later, as in one
// helm install. Then the pods are pinned.
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
			if !strings.HasPrefix(warnings.String(), `container "c0": can't pin `+reference+": "+at.Host+": 401 Unauthorized; check the image's name") {
				t.Errorf("the warning is %q, want one that names the container, the image and 401", warnings)
			}
			denied(t, c, ns, podSpec(reference), `container "c0": can't pin `+reference+": "+at.Host+": 401 Unauthorized; "+
				`check the image's name, or give the pod or its service account "default" an image pull secret`)
			newSecret(t, ns, "pull", at.Host, registry.Password)
			addPullSecret(t, ns, "default", "pull")
			poll.Until(t, func(ctx context.Context) error { // until the API server knows the account's secret
				image, err := createPod(ctx, ns, ownedPod(reference))
				if err == nil {
					wantImage(t, "image of its pod", image, reference, digest)
				}
				return err
			})
		})
	}
}

// TestWrongSecret points at the secrets that are there.
func TestWrongSecret(t *testing.T) {
	c, _ := newClient(t)
	for auth, at := range private() {
		t.Run(auth, func(t *testing.T) {
			ns := newNamespace(t, "enforce")
			reference, _ := push(t, at, repository(t)+":1")
			newSecret(t, ns, "wrong", at.Host, registry.WrongPassword+"-of-"+ns) // not yet refused
			spec := podSpec(reference)
			spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "wrong"}}
			denied(t, c, ns, spec, "401 Unauthorized; check the image's name and the pod's imagePullSecrets")
		})
	}
}

// denied creates a pod, which has to be denied with a text.
func denied(t *testing.T, c client.Client, ns string, spec corev1.PodSpec, text string) {
	t.Helper()
	pod := kinds()["Pod"](spec)
	pod.SetNamespace(ns)
	err := c.Create(t.Context(), pod)
	if err == nil || !strings.Contains(err.Error(), "denied the request: container") || !strings.Contains(err.Error(), text) {
		t.Errorf("creating a pod: %v, want it denied: %s", err, text)
	}
}

// TestRotatedSecret has a secret whose password became right: it counts at once, though the old one is remembered.
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

// TestOtherTenant tells no digest to who could not have pulled the image, though it is remembered.
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
	if _, err := createPod(t.Context(), newNamespace(t, "enforce"), ownedPod(reference)); err == nil || strings.Contains(err.Error(), digest) {
		t.Errorf("another namespace without a secret: %v, want it denied without the digest", err)
	}
}

// TestSecretsInDryRun stores what failed with a credential: told, after all tests, reads that too.
func TestSecretsInDryRun(t *testing.T) {
	c, _ := newClient(t)
	for auth, at := range private() {
		for password, want := range map[string]string{registry.Password: "404 Not Found", registry.WrongPassword: "401 Unauthorized"} {
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

// TestPasswordIsNowhere reads what tagpin has logged in this test and those before, and answered.
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
		t.Fatal("an image that is nowhere was admitted")
	}
	log := env.Tagpin.Log()
	if !strings.Contains(log, ns) {
		t.Error("the log does not name the namespace")
	}
	for where, text := range map[string]string{"denial": err.Error(), "warnings": warnings.String(), "log": log} {
		if leak := find(text, env.Basic.Secrets()); leak != "" {
			t.Errorf("the %s holds the password: %q", where, leak)
		}
	}
	for _, password := range []string{registry.Password, registry.WrongPassword} {
		sent := base64.StdEncoding.EncodeToString([]byte(registry.User + ":" + password))
		if find("plain: "+password, env.Basic.Secrets()) == "" || find("sent: "+sent, env.Basic.Secrets()) == "" {
			t.Errorf("a leak of %s would not be found", password)
		}
	}
}
