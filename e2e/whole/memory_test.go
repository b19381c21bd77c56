// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/attack"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

const (
	mebibyte = 1 << 20
	// memoryLimit is the chart's limit, and memoryGoal is how much an attack may make tagpin use.
	memoryLimit = 256 * mebibyte
	memoryGoal  = 200 * mebibyte
	server      = "tagpin-webhook"
)

// TestMemoryUnderAttack makes each attack that causes tagpin to hold memory. There is one replica,
// with the chart's memory limit. All deploys of another tenant are pinned meanwhile, and the kernel
// does not kill tagpin.
func TestMemoryUnderAttack(t *testing.T) {
	n := theNode(t)
	scaleTagpin(t, n, 1) // so that it gets all of an attack
	defer scaleTagpin(t, n, 2)
	for _, a := range []attack.Attack{
		attack.ManyCredentials(), attack.LargeCredentials(), attack.Stall(), attack.LargeReviews(),
		attack.EscapedReviews(), attack.LongAnnotations(),
		attack.LongTexts(), attack.SlowHeaders(), attack.StalledReviews(), attack.WaitingReviews(),
		attack.LargeSiblings(), attack.ManyStalls(), attack.LongRedirects(),
		attack.WaitingCredentials(), attack.AbandonedLists(), attack.LongNames(),
	} {
		t.Run(a.Name, func(t *testing.T) {
			pod, before := measured(t, n)
			attacker, victim := tenants(t, n, pod)
			result, err := attack.Run(t.Context(), a, attacker, victim)
			if err == nil {
				err = result.Undisturbed(attacker)
			}
			if err != nil {
				t.Error(err)
			}
			used, err := n.PodMemory(string(pod.UID), server)
			if err != nil || used.Group != before.Group {
				t.Fatalf("the victim had %s; tagpin was killed, as it has another container (%v)", result, err)
			}
			t.Logf("the victim had %s; tagpin used up to %d MiB", result, used.Peak/mebibyte)
			if used.Limit != memoryLimit {
				t.Errorf("tagpin's memory limit is %d MiB, want the chart's limit of %d MiB",
					used.Limit/mebibyte, memoryLimit/mebibyte)
			}
			if used.Peak > memoryGoal {
				t.Errorf("tagpin used up to %d MiB, want at most %d MiB",
					used.Peak/mebibyte, memoryGoal/mebibyte)
			}
		})
	}
}

// measured waits until tagpin's only replica runs, and resets the peak of its memory.
func measured(t *testing.T, n *node.Node) (pod corev1.Pod, now node.Memory) {
	t.Helper()
	poll.Until(t, func(context.Context) (err error) {
		tagpinReady(t, n, 1)
		pod = replicas(t, n)[0]
		if err := n.ResetMemoryPeak(string(pod.UID), server); err != nil {
			return err // it is being restarted
		}
		now, err = n.PodMemory(string(pod.UID), server)
		return err
	})
	return pod, now
}

// tenants returns an attacker, with a pod from which it attacks, and a victim.
func tenants(t *testing.T, n *node.Node, tagpin corev1.Pod) (*attack.Tenant, *attack.Victim) {
	t.Helper()
	ctx := t.Context()
	reference, digest := push(t, n, "honest", "one")
	from := newNamespace(t, n, "off")
	pod := clustertest.Pod("attacker", reference)
	if _, err := n.Client.CoreV1().Pods(from).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods, _ := want{ns: from, app: "attacker", replicas: 1, digest: digest, code: "one"}.runs(t, n)
	uid, address := string(pods[0].UID), tagpin.Status.PodIP
	place := attack.Place{
		Config: n.Config, CA: n.CA, Listen: n.Listen,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.DialFrom(ctx, uid, network, address)
		},
		Ports: []attack.Port{
			{Name: "webhook", Address: address + ":10250", TLS: true},
			{Name: "metrics", Address: address + ":8080"},
			{Name: "probes", Address: address + ":8081"},
		},
	}
	attacker, err := attack.NewTenant(ctx, place)
	if err != nil {
		t.Fatal(err)
	}
	pins := map[string]string{reference: reference + "@" + digest}
	victim, err := attack.NewVictim(ctx, place, pins)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, tenant := range []*attack.Tenant{attacker, victim.Tenant} {
			if err := tenant.Close(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		}
	})
	poll.Until(t, victim.Ready)
	return attacker, victim
}
