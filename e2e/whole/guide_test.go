// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
	"github.com/tagpin/tagpin/e2e/tools"
)

// elsewhere are the beginnings of command lines in the docs that other tests run, or that need a
// program or a registry that is not here.
var elsewhere = []string{
	"make image", // node.InstallTagpin and hack/image
	"kubectl --namespace tagpin-system port-forward", // for pprof, by cmd/tagpin-webhook
	"go tool pprof",
	"tagpin resolve",      // cmd/tagpin
	"oras manifest fetch", // needs oras and a mirror
	"terraform",
	// e2e/chart changes the registration to manual and back.
	"kubectl annotate mutatingwebhookconfiguration zz-tagpin helm.sh/resource-policy",
	"helm upgrade tagpin deploy/chart --namespace tagpin-system --reset-then-reuse-values --wait --set registration=",
	"velero restore create", // no test has Velero
}

// guide runs the command lines of the docs as they are written there.
type guide struct {
	t       *testing.T
	n       *node.Node
	open    map[string]string // command lines that were not run yet, with their pages
	replace *strings.Replacer // replaces what is different here
}

func newGuide(t *testing.T, n *node.Node, pages []string, replace ...string) *guide {
	t.Helper()
	g := &guide{t: t, n: n, open: map[string]string{}, replace: strings.NewReplacer(replace...)}
	for _, page := range pages {
		for _, line := range commands(t, page) {
			g.open[line] = filepath.Base(page)
		}
	}
	return g
}

// commands returns the command lines in the blocks "sh" of a page.
func commands(t *testing.T, page string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	inside, begun := false, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case !inside || line == "" || strings.HasPrefix(line, "#"):
		case strings.HasSuffix(line, "\\"):
			begun += strings.TrimSuffix(line, "\\")
		default:
			lines, begun = append(lines, begun+line), ""
		}
	}
	return lines
}

// run runs the command line that equals or begins with begin, and returns its output.
func (g *guide) run(begin string) string {
	g.t.Helper()
	line, _, _ := strings.Cut(g.take(begin), " | grep ") // if nothing is wrong, grep finds nothing and fails
	return g.shell(line)
}

// take returns the command line that equals or begins with begin, which the caller then runs.
func (g *guide) take(begin string) string {
	g.t.Helper()
	var found []string
	for line := range g.open {
		if strings.HasPrefix(line, begin) {
			found = append(found, line)
		}
	}
	if _, exact := g.open[begin]; exact {
		found = []string{begin}
	}
	if len(found) != 1 {
		g.t.Fatalf("%d command lines in the docs begin with %q and were not run yet, want one: %q", len(found), begin, found)
	}
	delete(g.open, found[0])
	return g.replace.Replace(found[0])
}

func (g *guide) shell(line string) string {
	g.t.Helper()
	out, err := g.n.RunShell(g.t.Context(), line)
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// wantText runs a command line and checks its output.
func (g *guide) wantText(begin string, want ...string) {
	g.t.Helper()
	out := g.run(begin)
	for _, w := range want {
		if !strings.Contains(out, w) {
			g.t.Errorf("output of %s =\n%s\nwant %q in it", begin, out, w)
		}
	}
}

// guidePages returns the pages whose commands TestGuide runs.
func guidePages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../deploy/docs/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatal(len(pages), err)
	}
	pages = slices.DeleteFunc(pages, func(page string) bool {
		// hack/image runs the commands of the first one, and TestIncidents those of the other.
		return filepath.Base(page) == "images.md" || page == incidentsPage
	})
	return append(pages, "../../deploy/README.md")
}

// TestGuide runs each command line in deploy/README.md and in the pages of deploy/docs, as it is
// written there.
func TestGuide(t *testing.T) {
	n := theNode(t)
	const shop = "shop"
	clustertest.Kubectl(t, n, "", "create", "namespace", shop)
	deleteAtEnd(t, n, shop)
	image := strings.SplitN(replicas(t, n)[0].Spec.Containers[0].Image, "@", 2)
	tried, _ := push(t, n, "tried", "one")
	g := newGuide(t, n, guidePages(t), "registry.example.com/tagpin-webhook", image[0], "sha256:…", image[1],
		"--create-namespace --wait", "--create-namespace --wait --values "+n.ValuesFile(), "NAMESPACE", shop,
		"registry.example.com/app:1", tried, "registry.example/web:1", tried,
		"bin/tagpin-webhook", program(t),
		"running.txt", filepath.Join(t.TempDir(), "running.txt"),
		`registry\.example\.com`, n.Registry.Host)
	g.begin()
	g.lookAround()
	g.upgrade()
	g.emergency()
	g.remove()
	for line, page := range g.open {
		if !hasPrefixOf(line, elsewhere) {
			t.Errorf("%s: no test runs the command %s", page, line)
		}
	}
}

// program builds tagpin-webhook as make build does, and returns its path.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tagpin-webhook")
	err := tools.Go(t.Context(), "../..", "build", "-trimpath", "-o", path, "./cmd/tagpin-webhook")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func hasPrefixOf(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// begin switches tagpin on, as README.md says.
func (g *guide) begin() {
	t := g.t
	g.verify()
	g.run("kubectl label namespace shop tagpin.dev/mode=dry-run")
	reference, digest := push(t, g.n, "guide", "one")
	poll.Until(t, func(context.Context) error {
		apply(t, g.n, "shop", "web", reference, 1)
		out := g.shell("kubectl get deployment web -n shop -o yaml")
		if !strings.Contains(out, "tagpin.dev/proposed-pins") {
			g.shell("kubectl delete deployment,service web -n shop --wait")
			return errors.New("there is no proposal")
		}
		return nil
	})
	g.wantText("kubectl get deployments -A -o custom-columns=", "shop", "web", reference+"@"+digest)
	g.wantText("kubectl run try", "tagpin.dev/proposed-pins")
	g.run("kubectl label namespace shop tagpin.dev/mode=enforce --overwrite")
	g.pinned(true)
}

// verify runs the test of the chart, and the command that it runs.
func (g *guide) verify() {
	want := []string{"ok    registration zz-tagpin: it has rules", "ok    keep.tagpin.dev: a review was answered"}
	g.wantText("kubectl exec --namespace tagpin-system deployment/tagpin-webhook -- tagpin-webhook verify", want...)
	out := g.shell(g.take("helm test tagpin") + " 2>&1")
	for _, w := range append(want, "tagpin-webhook:e2e: it would be pinned to sha256:", "Phase:          Succeeded") {
		if !strings.Contains(out, w) {
			g.t.Errorf("helm test wrote\n%s\nwant %q in it", out, w)
		}
	}
	left := g.shell("kubectl get pods,serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings " +
		"--namespace tagpin-system --selector app.kubernetes.io/component=test --output name")
	if left != "" {
		g.t.Errorf("helm test leaves %s", left)
	}
}

// pinned waits until a new pod in the namespace shop is pinned, or is not.
func (g *guide) pinned(want bool) {
	t := g.t
	t.Helper()
	reference, _ := push(t, g.n, "pinned", "one")
	poll.Until(t, func(ctx context.Context) error {
		probe := clustertest.Pod("probe", reference)
		pod, err := clustertest.DryRun(ctx, g.n.Client, "shop", probe)
		if err == nil && strings.Contains(pod.Spec.Containers[0].Image, "@") != want {
			err = errors.New("a pod has the image " + pod.Spec.Containers[0].Image)
		}
		return err
	})
}

// lookAround runs the commands by which the runbooks and the page on troubleshooting inspect a
// cluster.
func (g *guide) lookAround() {
	const logs = "kubectl logs --namespace tagpin-system --selector " +
		"app.kubernetes.io/component=webhook --ignore-errors --tail "
	g.run(logs + `-1 | grep '"lookup failed"'`)
	g.wantText("kubectl exec -n tagpin-system deployment/tagpin-webhook", "sha256:")
	g.wantText(logs+"100", `"msg":"admission"`, `"namespace":"shop"`)
	for line := range strings.Lines(g.shell(logs + "-1")) {
		if !json.Valid([]byte(line)) {
			g.t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
	g.run("kubectl get events -n shop --field-selector reason=FailedCreate")
	g.wantText("kubectl get namespace -L tagpin.dev/mode", "shop", "enforce")
	g.wantText("kubectl get mutatingwebhookconfiguration zz-tagpin -o yaml", "rules:", "matchConditions:", "caBundle:")
	g.wantText("kubectl get pods -n NAMESPACE --sort-by", "web-")
	g.run(logs + `-1 | grep '"verdict":"denied"'`)
	g.run(logs + `-1 | grep --extended-regexp '"verdict":`)
	g.run("kubectl label namespace tagpin-system pod-security")
	g.unpinned()
	g.inUse()
	g.wantText("kubectl run canary", "@sha256:")
	for _, line := range commands(g.t, "../../deploy/docs/runbooks.md") {
		if _, open := g.open[line]; !open || strings.HasPrefix(line, "kubectl delete") {
			continue // method emergency runs this command
		}
		out := g.run(line)
		if strings.HasPrefix(line, "kubectl auth can-i") && strings.TrimSpace(out) != "yes" {
			g.t.Errorf("%s: %s", line, out)
		}
		if strings.Contains(line, "openssl") && !strings.Contains(out, "notAfter=") {
			g.t.Errorf("%s: %s", line, out)
		}
	}
	g.shell("kubectl label namespace shop tagpin.dev/mode=enforce --overwrite")
	g.pinned(true)
}

// unpinned stores a pod and a Deployment while the namespace is not served, and finds their images
// without a digest, but not those of a namespace that is off. Applying the Deployment again pins
// nothing, and restarting it does.
func (g *guide) unpinned() {
	reference, digest := push(g.t, g.n, "passed", "one")
	pod := clustertest.Pod("passed", reference+"@"+digest)
	pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: reference}}
	g.shell("kubectl label namespace shop tagpin.dev/mode=off --overwrite")
	g.pinned(false)
	for _, namespace := range []string{"default", "shop"} { // tagpin is off in the first one
		pods := g.n.Client.CoreV1().Pods(namespace)
		if _, err := pods.Create(g.t.Context(), pod, metav1.CreateOptions{}); err != nil {
			g.t.Fatal(err)
		}
		defer func() {
			if err := pods.Delete(g.t.Context(), "passed", metav1.DeleteOptions{}); err != nil {
				g.t.Error(err)
			}
		}()
	}
	apply(g.t, g.n, "shop", "bypassed", reference, 1)
	w := want{ns: "shop", app: "bypassed", replicas: 1, digest: digest, code: "one"}
	w.runs(g.t, g.n)
	g.shell("kubectl label namespace shop tagpin.dev/mode=enforce --overwrite")
	g.pinned(true)
	apply(g.t, g.n, "shop", "bypassed", reference, 1)
	command := g.take("selector=$(kubectl get mutatingwebhookconfiguration zz-tagpin")
	out := g.shell(command)
	for text, want := range map[string]int{
		" shop/passed no-controller " + reference + "\n": 1, " ReplicaSet/bypassed-": 1, reference + "\n": 2, "default/": 0,
	} {
		if got := strings.Count(out, text); got != want {
			g.t.Errorf("the unpinned images are:\n%s\nwant %q %d times", out, text, want)
		}
	}
	g.shell("kubectl rollout restart deployment bypassed --namespace shop")
	g.shell("kubectl rollout status deployment bypassed --namespace shop --timeout 2m")
	w.runs(g.t, g.n)
	if out := g.shell(command); strings.Contains(out, "ReplicaSet/bypassed-") {
		g.t.Errorf("after a restart, the unpinned images are:\n%s", out)
	}
	g.shell("kubectl delete deployment,service bypassed -n shop --wait")
}

// inUse lists the digests that the cluster uses and gives each a tag, with a program that only
// prints what oras would be asked.
func (g *guide) inUse() {
	reference, digest := push(g.t, g.n, "in-use", "one")
	apply(g.t, g.n, "shop", "in-use", reference, 1)
	g.shell(g.take("kubectl get deployments,statefulsets,daemonsets,cronjobs,replicasets,"))
	out := g.shell(`oras() { echo oras "$@"; }; ` + g.take("grep '^registry"))
	want := fmt.Sprintf("oras tag %s@%s in-use-%s\n",
		strings.TrimSuffix(reference, ":1"), digest, strings.TrimPrefix(digest, "sha256:"))
	if strings.Count(out, want) != 1 {
		g.t.Errorf("the tags for what runs are:\n%s\nwant once %s", out, want)
	}
	g.shell("kubectl delete deployment,service in-use -n shop --wait")
}

func (g *guide) upgrade() {
	g.wantText("helm get values tagpin", "name: zz-tagpin")
	g.run("helm upgrade tagpin deploy/chart --namespace tagpin-system --reset-then-reuse-values --wait --set image.digest=")
	g.run("helm rollback tagpin --namespace tagpin-system --wait")
	g.run("kubectl annotate mutatingwebhookconfiguration zz-tagpin tagpin.dev/written-by-")
	tagpinReady(g.t, g.n, 2)
	g.pinned(true)
}
