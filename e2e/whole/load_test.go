// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/load"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

const (
	// images is how many are drawn from.
	images = 10
	// perSecond is the rate of a load: of a busy cluster.
	perSecond = 200
	// atOnce is how many admissions are under way.
	atOnce = 16
)

// shop is a namespace of a test, and images for its load.
func shop(t *testing.T) (ns string, references []string) {
	t.Helper()
	n := theNode(t)
	ns = newNamespace(t, n, "enforce")
	for range images {
		reference, _ := push(t, n, "load-"+string(rune('a'+len(references))), "load")
		references = append(references, reference)
	}
	return ns, references
}

// TestRollingRestart restarts tagpin, again and again until ten thousand admissions have been made meanwhile, over connections
// that API servers keep: none fails, none is unpinned.
func TestRollingRestart(t *testing.T) {
	const enough = 10_000
	n := theNode(t)
	ns, references := shop(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := load.Start(ctx, load.Options{AtOnce: atOnce, Rate: perSecond}, load.Pods(n.Client, ns, references))
	restarts := 0
	for ; l.Result().Done() < enough && l.Result().Failed == 0; restarts++ {
		kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "rollout", "restart", "deployment/tagpin-webhook")
		kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "rollout", "status", "deployment/tagpin-webhook", "--timeout="+poll.Deadline.String())
		tagpinReady(t, n, 2) // and the former ones have ended
	}
	stop()
	r := l.Wait()
	t.Logf("during %d restarts of both replicas: %s", restarts, r)
	if r.Failed > 0 || r.Unpinned > 0 || r.Pinned < enough {
		t.Errorf("want all pinned, and %d: %s", enough, r)
	}
}

// timeout is the registration's: how long an API server waits for an answer.
const timeout = 10 * time.Second

// TestKilledReplica kills one replica of two under load. What it was answering fails, and what is sent to it until the node's
// proxy knows; the other one pins meanwhile, nothing goes through unpinned, and then all is well.
func TestKilledReplica(t *testing.T) {
	n := theNode(t)
	ns, references := shop(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := load.Start(ctx, load.Options{AtOnce: atOnce, Rate: perSecond}, load.Pods(n.Client, ns, references))
	await(t, l, perSecond)
	killReplica(t, n)
	tagpinReady(t, n, 2)
	await(t, l, 2*atOnce) // those that were under way
	failed := l.Result().Failed
	await(t, l, 5*perSecond)
	stop()
	r := l.Wait()
	t.Logf("%d admissions failed until the replica was back; all in all %s", failed, r)
	if r.Unpinned > 0 || r.Failed > failed || r.Pinned < 5*perSecond {
		t.Errorf("want none unpinned, and none failed after the replica was back, which is after %d: %s", failed, r)
	}
	if r.Gap > timeout {
		t.Errorf("for %v nothing was pinned, want it to recover within %v", r.Gap, timeout)
	}
}

// await waits until so many more admissions have ended.
func await(t *testing.T, l *load.Load, more int) {
	t.Helper()
	done := l.Result().Done() + more
	poll.Until(t, func(context.Context) error {
		if r := l.Result(); r.Done() < done {
			return fmt.Errorf("the load stands still: %s", r)
		}
		return nil
	})
}

// killReplica kills one replica's process, and returns when its container has been restarted.
func killReplica(t *testing.T, n *node.Node) {
	t.Helper()
	pod := replicas(t, n)[0]
	if err := n.KillPod(string(pod.UID), "tagpin-webhook"); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, func(ctx context.Context) error {
		p, err := n.Client.CoreV1().Pods(node.TagpinNamespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && p.Status.ContainerStatuses[0].RestartCount == pod.Status.ContainerStatuses[0].RestartCount {
			err = errors.New("the container was not restarted")
		}
		return err
	})
}

// replicas are tagpin's pods.
func replicas(t *testing.T, n *node.Node) []corev1.Pod {
	t.Helper()
	list, err := n.Client.CoreV1().Pods(node.TagpinNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatal(len(list.Items), err)
	}
	return list.Items
}

// TestRotation has the leaf and then the CA of tagpin's certificate made anew under load: no call fails.
func TestRotation(t *testing.T) {
	n := theNode(t)
	ns, references := shop(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := load.Start(ctx, load.Options{AtOnce: atOnce, Rate: perSecond}, load.Pods(n.Client, ns, references))
	await(t, l, perSecond)
	rotate(t, n)
	await(t, l, perSecond)
	stop()
	r := l.Wait()
	t.Logf("while leaf and CA were made anew: %s", r)
	if r.Failed > 0 || r.Unpinned > 0 {
		t.Errorf("want all pinned: %s", r)
	}
}

// rotate takes the leaf out of the secret, and then all that is in it, as if each had come to its end. It returns when all
// replicas serve what was made anew.
func rotate(t *testing.T, n *node.Node) {
	t.Helper()
	former := served(t, n)
	patch := func(kind, text string) {
		t.Helper()
		kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "patch", "secret", "tagpin-webhook-tls", "--type="+kind, "--patch="+text)
	}
	until := func(what string, holds func(now *x509.Certificate) bool) (leaf *x509.Certificate) {
		t.Helper()
		poll.Until(t, func(context.Context) error {
			if leaf = served(t, n); leaf == nil || !holds(leaf) {
				return errors.New("the replicas don't serve " + what)
			}
			return nil
		})
		return leaf
	}
	patch("json", `[{"op":"remove","path":"/data/tls.crt"}]`)
	leaf := until("a new leaf", func(now *x509.Certificate) bool { return !now.Equal(former) })
	if !bytes.Equal(leaf.AuthorityKeyId, former.AuthorityKeyId) {
		t.Error("with the new leaf came another CA")
	}
	patch("merge", `{"data":null}`)
	until("a leaf of a new CA", func(now *x509.Certificate) bool { return !bytes.Equal(now.AuthorityKeyId, former.AuthorityKeyId) })
}

// served is the certificate that all replicas serve; nil where they serve several.
func served(t *testing.T, n *node.Node) (leaf *x509.Certificate) {
	t.Helper()
	for _, pod := range replicas(t, n) {
		raw, err := n.Dial(t.Context(), "tcp", pod.Status.PodIP+":9443")
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it looks at what is shown
		err = conn.HandshakeContext(t.Context())
		shown := conn.ConnectionState().PeerCertificates
		_ = conn.Close() // nothing was written
		if err != nil {
			t.Fatal(err)
		}
		if leaf != nil && !leaf.Equal(shown[0]) {
			return nil
		}
		leaf = shown[0]
	}
	return leaf
}
