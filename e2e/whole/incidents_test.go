// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

type configuration = admissionregistrationv1.MutatingWebhookConfiguration

const (
	incidentsPage    = "../../deploy/docs/incidents.md"
	registrationName = "zz-tagpin"
	secretName       = "tagpin-webhook-tls"
)

// incident is something that happens to tagpin while a namespace deploys and a pinned workload runs
// there.
type incident struct {
	*guide  // runs the commands of the page
	t       *testing.T
	n       *node.Node
	ns      string
	web     want // the pinned workload, with two pods
	deploys int
	passes  bool // for now, deploys may be stored unpinned
}

// TestIncidents plays each incident of deploy/docs/incidents.md, in the order of the page, and runs
// its commands. Whatever happens, the pods of pinned workloads are replaced, nothing is stored
// unpinned unless the page says so, and everything works in the end.
func TestIncidents(t *testing.T) {
	n := theNode(t)
	i := &incident{n: n, ns: newNamespace(t, n, "enforce")}
	i.guide = newGuide(t, n, []string{incidentsPage}, "--namespace shop", "--namespace "+i.ns,
		"--values values.yaml", "--values "+n.ValuesFile())
	reference, digest := push(t, n, "web", "one")
	apply(t, n, i.ns, "web", reference, 2)
	i.web = want{ns: i.ns, app: "web", replicas: 2, digest: digest, code: "one"}
	i.web.runs(t, n)
	defer scaleTagpin(t, n, 2)
	scale, played := 2, 0
	tagpinReady(t, n, scale) // the test before may have left a pod that is still ending
	for _, p := range plays() {
		if scale != p.replicas {
			scale = p.replicas
			scaleTagpin(t, n, scale)
		}
		name := strings.NewReplacer("'", "", ",", "").Replace(p.heading) // it is part of references
		if !t.Run(name, func(t *testing.T) {
			i.t, i.guide.t = t, t
			played++
			i.works()
			p.play(i)
			tagpinReady(t, n, scale)
			i.works()
		}) {
			return // the others would fail too
		}
	}
	if played < len(plays()) {
		return // the flag -run has chosen some
	}
	for line := range i.open {
		t.Errorf("no incident runs the command %s", line)
	}
	wantHeadings(t)
}

// wantHeadings checks that the page has one section for each incident.
func wantHeadings(t *testing.T) {
	t.Helper()
	headings := headingsOf(t, incidentsPage)
	if len(headings) != len(plays()) {
		t.Fatalf("the page has the sections %q, want one for each of the %d incidents",
			headings, len(plays()))
	}
	for k, p := range plays() {
		if headings[k] != p.heading {
			t.Errorf("section %d of the page is %q, want %q", k, headings[k], p.heading)
		}
	}
}

// play is how an incident is played.
type play struct {
	heading  string // of the page's section
	replicas int    // of tagpin
	play     func(*incident)
}

// plays returns the incidents in the order of the page.
func plays() []play {
	return []play{
		{"A registry is down for hours", 2, (*incident).registryOutage},
		{"The kernel kills tagpin for its memory", 1, (*incident).outOfMemory},
		{"There is one replica", 1, (*incident).oneReplica},
		{"A node is drained", 2, (*incident).drain},
		{"The API server can't reach the Service", 2, (*incident).unreachable},
		{"The registration has a wrong CA", 2, (*incident).wrongCA},
		{"The certificate has expired", 2, (*incident).expired},
		{"A clock is an hour off", 2, (*incident).clock},
		{"etcd was restored to an hour ago", 2, (*incident).restored},
		{"GitOps fights over the registration", 2, (*incident).fight},
		{"An upgrade changes the config, and is rolled back", 2, (*incident).changedConfig},
		{"The namespace was deleted", 2, (*incident).namespaceDeleted},
	}
}

// headingsOf returns the headings of the sections of a page.
func headingsOf(t *testing.T, page string) (headings []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			headings = append(headings, strings.TrimSpace(heading))
		}
	}
	return headings
}

// deploy creates a pod with a new image as a dry run. It returns an error if the API server refuses
// the pod. If the pod is not pinned, the test fails too, except while i.passes.
func (i *incident) deploy(ctx context.Context) error {
	i.deploys++
	tag := fmt.Sprintf("incidents/app-%d:1", i.deploys)
	if _, err := i.n.Registry.PushImage(tag); err != nil {
		return err
	}
	probe := clustertest.Pod("probe", i.n.Registry.Host+"/"+tag)
	pod, err := clustertest.DryRun(ctx, i.n.Client, i.ns, probe)
	if err != nil || strings.Contains(pod.Spec.Containers[0].Image, "@sha256:") {
		return err
	}
	err = errors.New("a pod is stored with the image " + pod.Spec.Containers[0].Image)
	if !i.passes {
		i.t.Error(err)
	}
	return err
}

// works waits until a deploy is pinned. Until then, deploys may only fail with one of the texts.
func (i *incident) works(texts ...string) {
	i.t.Helper()
	poll.Until(i.t, func(ctx context.Context) error {
		err := i.deploy(ctx)
		if err != nil && len(texts) > 0 && !containsAny(err.Error(), texts) {
			i.t.Errorf("a deploy fails: %v, want one of %q", err, texts)
		}
		return err
	})
}

// fails waits until a deploy fails with one of the texts.
func (i *incident) fails(texts ...string) {
	i.t.Helper()
	poll.Until(i.t, func(ctx context.Context) error {
		if err := i.deploy(ctx); err == nil || !containsAny(err.Error(), texts) {
			return fmt.Errorf("a deploy: %w, want one of %q", err, texts)
		}
		return nil
	})
}

func containsAny(s string, texts []string) bool {
	for _, text := range texts {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// heals deletes a pod of the pinned workload, and waits for the one that replaces it.
func (i *incident) heals() {
	i.t.Helper()
	pods, _ := i.web.runs(i.t, i.n)
	i.shell("kubectl delete pod " + pods[0].Name + " --wait=false --namespace " + i.ns)
	w := i.web
	w.gone = map[string]bool{pods[0].Name: true}
	w.runs(i.t, i.n)
}

// registration changes the registration, as somebody else than tagpin does.
func (i *incident) registration(change func(*configuration)) {
	i.t.Helper()
	api := i.n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	poll.Until(i.t, func(ctx context.Context) error { // a server may write it at the same time
		live, err := api.Get(ctx, registrationName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(live)
		_, err = api.Update(ctx, live, metav1.UpdateOptions{})
		return err
	})
}

// secret returns the secret with the certificates.
func (i *incident) secret() *corev1.Secret {
	i.t.Helper()
	api := i.n.Client.CoreV1().Secrets(node.TagpinNamespace)
	secret, err := api.Get(i.t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	return secret
}

// putSecret writes the secret as it is in another place or was at another time.
func (i *incident) putSecret(change func(*corev1.Secret)) {
	i.t.Helper()
	api := i.n.Client.CoreV1().Secrets(node.TagpinNamespace)
	poll.Until(i.t, func(ctx context.Context) error {
		live, err := api.Get(ctx, secretName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(live)
		_, err = api.Update(ctx, live, metav1.UpdateOptions{})
		return err
	})
}

// leafOf returns the certificate in a secret.
func leafOf(t *testing.T, s *corev1.Secret) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// leafDiffers waits until the secret has another certificate than the given one.
func (i *incident) leafDiffers(from []byte) {
	i.t.Helper()
	poll.Until(i.t, func(context.Context) error {
		if bytes.Equal(i.secret().Data["tls.crt"], from) {
			return errors.New("the secret still has the certificate")
		}
		return nil
	})
}
