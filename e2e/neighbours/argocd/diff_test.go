// SPDX-License-Identifier: Apache-2.0

package argocd

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestController sets server-side diff for the controller. deploy/docs/gitops.md says to do that in
// a ConfigMap; here the test sets the variable, because the controller is not a pod.
func TestController(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The controller restarts with the environment variable that Argo CD's manifest sets from this entry of the ConfigMap `argocd-cmd-params-cm`. The tag moves three times.",
		Result:   "As with the annotation. Before, the Application was out of sync.",
		Settings: "`controller.diff.server.side: \"true\"`",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, s, reference, "", selfHeal)
	a.want("before", "OutOfSync")
	controller.restart(t, variable(t, "controller.diff.server.side")+"=true")
	a.wantUnmoved(reference+"@"+digest, 3)
}

// variable returns the environment variable that the controller gets from an entry of the ConfigMap
// argocd-cmd-params-cm, as the manifest of Argo CD says.
func variable(t *testing.T, key string) string {
	t.Helper()
	dir, _, err := env.Source(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifests", "base", "application-controller",
		"argocd-application-controller-statefulset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var set appsv1.StatefulSet
	if err := sigsyaml.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	for _, v := range set.Spec.Template.Spec.Containers[0].Env {
		if from := v.ValueFrom; from != nil && from.ConfigMapKeyRef != nil &&
			from.ConfigMapKeyRef.Name == "argocd-cmd-params-cm" && from.ConfigMapKeyRef.Key == key {
			return v.Name
		}
	}
	t.Fatalf("no variable is from %s", key)
	return ""
}

// TestMutationWebhook includes the changes of webhooks in the difference.
func TestMutationWebhook(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves three times.",
		Result:   "As without `IncludeMutationWebhook=true`.",
		Settings: "`ServerSideDiff=true,IncludeMutationWebhook=true`",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, s, reference, serverSideDiff+",IncludeMutationWebhook=true", selfHeal)
	a.wantUnmoved(reference+"@"+digest, 3)
}

// TestShownDiff looks at the difference that Argo CD shows for a new tag.
func TestShownDiff(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit changes the tag. Sync is by hand.",
		Result:   "The difference that Argo CD shows has the new tag with its digest, also with `IncludeMutationWebhook=true`.",
		Settings: "`ServerSideDiff=true`",
	})
	for _, options := range []string{serverSideDiff, serverSideDiff + ",IncludeMutationWebhook=true"} {
		t.Run(options, func(t *testing.T) {
			s := env.NewSpace(t)
			one, _ := s.Push("1")
			two, second := s.Push("2")
			a := newApp(t, s, one, options, byHand)
			a.deploy(two, "")
			a.want("another tag", "OutOfSync")
			got, want := a.predicted().Spec.Containers[0].Image, two+"@"+second
			if got != want {
				t.Errorf("the difference has %s, want %s", got, want)
			}
		})
	}
}

// predicted returns the template of the Deployment that Argo CD expects after a sync.
func (a *app) predicted() corev1.PodTemplateSpec {
	a.t.Helper()
	url := "http://" + server.address + "/api/v1/applications/" + a.Name + "/managed-resources"
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var resources struct {
		Items []struct{ Kind, PredictedLiveState string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&resources); err != nil {
		a.t.Fatal(err)
	}
	for _, r := range resources.Items {
		var d appsv1.Deployment
		if r.Kind != "Deployment" {
			continue
		}
		if err := json.Unmarshal([]byte(r.PredictedLiveState), &d); err != nil {
			a.t.Fatal(err)
		}
		return d.Spec.Template
	}
	a.t.Fatalf("%s has no Deployment: %+v", url, resources)
	return corev1.PodTemplateSpec{}
}

// TestServerSideApplyDiff applies on the server and compares as Argo CD does by default then.
func TestServerSideApplyDiff(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Argo CD applies on the server, without `ServerSideDiff=true`.",
		Result:   "The Application is out of sync, as without any setting.",
		Settings: "`ServerSideApply=true`",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, s, reference, "", "{automated: {prune: true}, syncOptions: [ServerSideApply=true]}")
	a.want("deployed", "OutOfSync")
	a.WantDeployment("deployed", reference+"@"+digest, 1, 1)
}
