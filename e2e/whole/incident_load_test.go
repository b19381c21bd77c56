// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/load"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

// underLoad calls f while the namespace deploys, and returns what happened to the deploys. None may
// be stored unpinned.
func (i *incident) underLoad(f func()) load.Result {
	i.t.Helper()
	ctx, stop := context.WithCancel(i.t.Context())
	defer stop()
	reference, _ := push(i.t, i.n, "load", "load")
	options := load.Options{AtOnce: atOnce, Rate: perSecond}
	l := load.Start(ctx, options, load.Pods(i.n.Client, i.ns, []string{reference}))
	await(i.t, l, perSecond)
	f()
	await(i.t, l, perSecond)
	stop()
	r := l.Wait()
	i.t.Logf("deploys meanwhile: %s", r)
	if r.Unpinned > 0 {
		i.t.Errorf("%d deploys were stored unpinned", r.Unpinned)
	}
	return r
}

// outageValues are settings with which an outage of seconds is like one of hours.
const outageValues = "--set config.cache.ttl=1s --set config.cache.staleFor=20s"

// registryOutage is an outage that lasts longer than cache.staleFor.
func (i *incident) registryOutage() {
	t, n := i.t, i.n
	i.configure("helm upgrade tagpin deploy/chart --namespace tagpin-system " +
		"--reset-then-reuse-values --wait " + outageValues)
	defer i.configure("helm rollback tagpin --namespace tagpin-system --wait")
	reference, digest := push(t, n, "owned", "one")
	pinned := func(ctx context.Context) error { return i.ownedPod(ctx, reference, digest) }
	for range 20 { // so that both replicas know the digest
		poll.Until(t, pinned)
	}

	n.Registry.SetDown(true)
	defer n.Registry.SetDown(false)
	i.until(`tagpin_admission_references_total{mode="enforce",result="stale"}`, pinned)
	i.heals()
	fresh, freshDigest := push503(i, "fresh")
	apply(t, n, i.ns, "fresh", fresh, 1)
	i.hasEvent("fresh", "denied the request")
	poll.Until(t, func(ctx context.Context) error {
		if err := pinned(ctx); err == nil || !strings.Contains(err.Error(), "denied the request") {
			return fmt.Errorf("a pod by an old answer: %w, want it denied", err)
		}
		return nil
	})
	i.heals()
	n.Registry.SetDown(false)
	i.run("kubectl rollout restart deployment fresh")
	want{ns: i.ns, app: "fresh", replicas: 1, digest: freshDigest, code: "fresh"}.runs(t, n)
	i.shell("kubectl delete deployment,service fresh --namespace " + i.ns)
}

// push503 pushes an image while the registry is down.
func push503(i *incident, code string) (reference, digest string) {
	i.n.Registry.SetDown(false)
	defer i.n.Registry.SetDown(true)
	return push(i.t, i.n, code, code)
}

// ownedPod creates a pod as a dry run, as a controller of a custom kind does. It returns an error
// if the pod does not get the digest.
func (i *incident) ownedPod(ctx context.Context, reference, digest string) error {
	pod := clustertest.Pod("owned", reference)
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "example.com/v1", Kind: "Batch", Name: "batch", UID: "batch",
		Controller: new(true),
	}}
	stored, err := clustertest.DryRun(ctx, i.n.Client, i.ns, pod)
	if err == nil && stored.Spec.Containers[0].Image != reference+"@"+digest {
		err = errors.New("the pod has the image " + stored.Spec.Containers[0].Image)
	}
	return err
}

// until calls f until a replica has a series whose value is not 0.
func (i *incident) until(series string, f func(context.Context) error) {
	i.t.Helper()
	poll.Until(i.t, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return err
		}
		for _, pod := range replicas(i.t, i.n) {
			if value := i.metric(&pod, series); value != "" && value != "0" {
				return nil
			}
		}
		return errors.New("no replica has a value of " + series)
	})
}

// hasEvent waits until an event of a workload's pods has a text.
func (i *incident) hasEvent(workload, text string) {
	i.t.Helper()
	poll.Until(i.t, func(context.Context) error {
		out := i.shell("kubectl get events --field-selector reason=FailedCreate --namespace " + i.ns)
		for line := range strings.Lines(out) {
			if strings.Contains(line, workload) && strings.Contains(line, text) {
				return nil
			}
		}
		return fmt.Errorf("no event of %s has %q: %s", workload, text, out)
	})
}

// killedCode is the exit code of a container that the kernel has killed: 128 and the number of
// SIGKILL.
const killedCode = 128 + 9

// outOfMemory lets the kernel kill the only replica for its memory.
func (i *incident) outOfMemory() {
	pods := i.n.Client.CoreV1().Pods(node.TagpinNamespace)
	pod := replicas(i.t, i.n)[0]
	restarts := pod.Status.ContainerStatuses[0].RestartCount // another test may have killed it
	before, err := i.n.PodMemory(string(pod.UID), server)
	kills, errKills := node.OutOfMemoryKills()
	if err := errors.Join(err, errKills); err != nil {
		i.t.Fatal(err)
	}
	i.underLoad(func() {
		poll.Until(i.t, func(ctx context.Context) error {
			now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			status := now.Status.ContainerStatuses[0]
			if end := status.LastTerminationState.Terminated; end != nil && status.RestartCount > restarts {
				// Not by the reason: see OutOfMemoryKills.
				after, err := node.OutOfMemoryKills()
				if err != nil || after == kills || end.ExitCode != killedCode {
					i.t.Fatalf("the container has ended, but not for its memory: %d kills before, %d after (%v): %+v",
						kills, after, err, status)
				}
				return nil
			}
			// Again each time, because Go frees memory, and the kernel its cache of files. The container
			// that follows is left alone.
			memory, err := i.n.PodMemory(string(pod.UID), server)
			if err == nil && memory.Group == before.Group {
				err = i.n.TightenMemory(string(pod.UID), server)
			}
			if err != nil && !errors.Is(err, node.ErrNoProcess) {
				return err
			}
			return fmt.Errorf("the container has not been killed for its memory: %+v", status)
		})
		i.wantText("kubectl get pods --namespace tagpin-system", strconv.Itoa(killedCode))
		tagpinReady(i.t, i.n, 1)
	})
}

// oneReplica replaces the only replica, and then kills it.
func (i *incident) oneReplica() {
	r := i.underLoad(func() {
		i.shell("kubectl rollout restart deployment/tagpin-webhook --namespace tagpin-system")
		i.shell("kubectl rollout status deployment/tagpin-webhook --namespace tagpin-system")
		tagpinReady(i.t, i.n, 1)
	})
	if r.Failed > 0 {
		i.t.Errorf("want no failure while the only replica is replaced: %s", r)
	}
	killReplica(i.t, i.n)
	i.heals() // whether tagpin is back already or not
	i.works("failed calling webhook")
}

// drain evicts tagpin's pods from the only node.
func (i *incident) drain() {
	defer i.shell("kubectl uncordon node")
	r := i.underLoad(func() {
		out, err := i.n.RunShell(i.t.Context(), "kubectl drain node --ignore-daemonsets "+
			"--pod-selector app.kubernetes.io/name=tagpin --timeout 15s 2>&1")
		if err == nil || !strings.Contains(err.Error(), "disruption budget") {
			i.t.Errorf("kubectl drain = %s, %v, want it to wait for the disruption budget", out, err)
		}
		i.run("kubectl get poddisruptionbudget tagpin-webhook")
		i.shell("kubectl uncordon node")
		tagpinReady(i.t, i.n, 2)
	})
	if r.Failed > 0 {
		i.t.Errorf("want no failure during a drain: %s", r)
	}
}

// configure runs a command that changes the config, and returns when each replica has read it.
func (i *incident) configure(command string) {
	i.t.Helper()
	before := map[string]string{}
	for _, pod := range replicas(i.t, i.n) {
		before[pod.Name] = i.reloads(&pod)
	}
	i.shell(command)
	poll.Until(i.t, func(context.Context) error {
		// A changed pod makes the kubelet look at the ConfigMap at once.
		i.shell("kubectl annotate pods --selector app.kubernetes.io/name=tagpin --overwrite " +
			"tagpin.dev/touched=$(date +%s%N) --namespace tagpin-system")
		for _, pod := range replicas(i.t, i.n) {
			if now := i.reloads(&pod); now == before[pod.Name] {
				return fmt.Errorf("%s has read a config %s times, as before", pod.Name, now)
			}
		}
		return nil
	})
}

// reloads returns how often a replica has read a config that came into force.
func (i *incident) reloads(pod *corev1.Pod) string {
	i.t.Helper()
	return i.metric(pod, `tagpin_config_reloads_total{result="ok"}`)
}

// metric returns the value of a series of a replica, or "" if it has none.
func (i *incident) metric(pod *corev1.Pod, series string) (value string) {
	i.t.Helper()
	poll.Until(i.t, func(ctx context.Context) error {
		body, err := i.n.Get(ctx, "http://"+pod.Status.PodIP+":8080/metrics")
		_, rest, _ := strings.Cut(body, "\n"+series+" ")
		value, _, _ = strings.Cut(rest, "\n")
		return err
	})
	return value
}
