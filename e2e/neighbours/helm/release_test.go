// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// chart has the files of a chart with a Deployment and a hook.
var chart = map[string]string{
	"Chart.yaml": "{apiVersion: v2, name: web, version: 1.0.0}\n",
	"values.yaml": `
image: ""
replicas: 2
note: ""
annotations: {}
hook: false
`,
	"templates/configmap.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {note: {{ .Values.note | quote }}}
`,
	"templates/deployment.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {{ .Values.annotations | toJson }}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: {{ .Values.image | quote }}}
`,
	"templates/hook.yaml": `
{{- if .Values.hook }}
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade"}
spec:
  template:
    metadata: {labels: {app: migrate}}
    spec:
      terminationGracePeriodSeconds: 0
      restartPolicy: Never
      containers:
      - {name: app, image: {{ .Values.image | quote }}}
{{- end }}
`,
}

// release is the release web in a namespace.
type release struct {
	*neighbours.Space
	t     *testing.T
	four  bool // by Helm 4
	chart string
}

// each runs a test with each major version of Helm, and an installed release of a new image. It
// passes the image's reference, which is all that the release's values have, and its digest.
func each(t *testing.T, f func(r *release, reference, digest string)) {
	t.Helper()
	for name, four := range map[string]bool{"3": false, "4": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &release{env.NewSpace(t), t, four, t.TempDir()}
			for file, text := range chart {
				path := filepath.Join(r.chart, filepath.FromSlash(file))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			reference, digest := r.Push("1")
			r.upgrade("image=" + reference)
			r.WantDeployment("installed", reference+"@"+digest, 1, 1)
			f(r, reference, digest)
		})
	}
}

// try runs Helm in the namespace, without the settings of the user.
func (r *release) try(args ...string) (output string, err error) {
	r.t.Helper()
	dir := env.Parts[0].Dir
	if r.four {
		dir = env.Dir
	}
	args = append(args, "-n", r.Name)
	cmd := exec.CommandContext(r.t.Context(), filepath.Join(dir, "helm"), args...)
	variables := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HELM_")
	})
	cmd.Env = append(variables, "HOME="+env.Scratch, "KUBECONFIG="+env.Kubeconfig)
	out, err := cmd.CombinedOutput()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return string(out), err
}

func (r *release) run(args ...string) (output string) {
	r.t.Helper()
	output, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("helm %q: %v\n%s", args, err, output)
	}
	return output
}

// upgrade installs or upgrades the release with values, and waits until everything is ready.
func (r *release) upgrade(values ...string) {
	r.t.Helper()
	r.run("upgrade", "--install", "web", r.chart, "--wait", "--set", strings.Join(values, ","))
}

// previous is the revision before the current one.
const previous = "0"

// rollback rolls the release back to a revision, and waits until everything is ready.
func (r *release) rollback(revision string) {
	r.t.Helper()
	r.run("rollback", "web", revision, "--wait")
}

// wantPods compares the images of the Deployment's pods.
func (r *release) wantPods(when, image string, count int) {
	r.t.Helper()
	got, err := r.Images(r.t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		r.t.Fatal(err)
	}
	if want := slices.Repeat([]string{image}, count); !slices.Equal(got, want) {
		r.t.Errorf("%s: the pods run %q, want %q", when, got, want)
	}
}

// hook returns the image of the hook's Job.
func (r *release) hook() string {
	r.t.Helper()
	job, err := env.Client.BatchV1().Jobs(r.Name).Get(r.t.Context(), "migrate", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return job.Spec.Template.Spec.Containers[0].Image
}
