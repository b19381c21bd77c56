// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/attack"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

const (
	mebibyte = 1 << 20
	// memoryLimit is what the chart gives tagpin, and memoryGoal what an attack may make it use.
	memoryLimit = 256 * mebibyte
	memoryGoal  = 200 * mebibyte
	server      = "tagpin-webhook"
)

// TestMemoryUnderAttack attacks one replica of tagpin, which has the chart's limit of memory, in
// each way that makes it hold memory. Another tenant deploys meanwhile: all is pinned, and the
// kernel does not end tagpin.
func TestMemoryUnderAttack(t *testing.T) {
	n := theNode(t)
	scaleTagpin(t, n, 1) // all of an attack is for that one
	defer scaleTagpin(t, n, 2)
	for _, a := range []attack.Attack{
		attack.ManyCredentials(), attack.LargeCredentials(), attack.Stall(), attack.LargeReviews(),
		attack.EscapedReviews(), attack.LongAnnotations(),
		attack.LongTexts(), attack.SlowHeaders(), attack.StalledReviews(), attack.WaitingReviews(),
		attack.LargeSiblings(), attack.ManyStalls(),
	} {
		t.Run(a.Name, func(t *testing.T) {
			pod, before := measured(t, n)
			attacker, victim := tenants(t, n, pod)
			seen, err := attack.Run(t.Context(), a, attacker, victim)
			if err == nil {
				err = seen.Undisturbed(attacker)
			}
			if err != nil {
				t.Error(err)
			}
			used, err := n.PodMemory(string(pod.UID), server)
			if err != nil || used.Group != before.Group {
				t.Fatalf("the victim saw %s; then tagpin has another container: it was ended (%v)", seen, err)
			}
			t.Logf("the victim saw %s; tagpin used up to %d MiB", seen, used.Peak/mebibyte)
			if used.Limit != memoryLimit {
				t.Errorf("the limit of tagpin's memory is %d MiB, want the chart's, %d",
					used.Limit/mebibyte, memoryLimit/mebibyte)
			}
			if used.Peak > memoryGoal {
				t.Errorf("tagpin used up to %d MiB, want at most %d",
					used.Peak/mebibyte, memoryGoal/mebibyte)
			}
		})
	}
}

// measured waits until tagpin's only replica runs, and measures its memory from then on.
func measured(t *testing.T, n *node.Node) (pod corev1.Pod, now node.Memory) {
	t.Helper()
	poll.Until(t, func(context.Context) (err error) {
		tagpinReady(t, n, 1)
		pod = replicas(t, n)[0]
		if err := n.ResetMemoryPeak(string(pod.UID), server); err != nil {
			return err // it is being started again
		}
		now, err = n.PodMemory(string(pod.UID), server)
		return err
	})
	return pod, now
}

// tenants are an attacker, with a pod that it attacks from, and a victim.
func tenants(t *testing.T, n *node.Node, tagpin corev1.Pod) (*attack.Tenant, *attack.Victim) {
	t.Helper()
	ctx := t.Context()
	reference, digest := push(t, n, "honest", "one")
	from := newNamespace(t, n, "off")
	pod := newPod("attacker", reference)
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
			{Name: "webhook", Address: address + ":9443", TLS: true},
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
