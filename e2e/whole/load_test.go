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

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/load"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

const (
	// images is the number of images in a load.
	images = 10
	// perSecond is the rate of requests, which is that of a busy cluster.
	perSecond = 200
	// atOnce is the number of requests in flight.
	atOnce = 16
)

// startLoad starts a load in a new namespace, which stop ends.
func startLoad(t *testing.T, n *node.Node) (l *load.Load, stop func()) {
	t.Helper()
	ns := newNamespace(t, n, "enforce")
	var references []string
	for range images {
		reference, _ := push(t, n, "load-"+string(rune('a'+len(references))), "load")
		references = append(references, reference)
	}
	ctx, stop := context.WithCancel(t.Context())
	options := load.Options{AtOnce: atOnce, Rate: perSecond}
	return load.Start(ctx, options, load.Pods(n.Client, ns, references)), stop
}

// TestRollingRestart restarts tagpin repeatedly until ten thousand requests were made, over
// connections that the API server keeps open. All of them must be pinned.
func TestRollingRestart(t *testing.T) {
	const enough = 10_000
	n := theNode(t)
	l, stop := startLoad(t, n)
	defer stop()
	restarts := 0
	for ; l.Result().Done() < enough && l.Result().Failed == 0; restarts++ {
		clustertest.Kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "rollout", "restart", "deployment/tagpin-webhook")
		clustertest.Kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "rollout", "status", "deployment/tagpin-webhook", "--timeout="+poll.Deadline.String())
		tagpinReady(t, n, 2) // and the old ones have ended
	}
	stop()
	r := l.Wait()
	t.Logf("during %d restarts of both replicas: %s", restarts, r)
	if r.Failed > 0 || r.Unpinned > 0 || r.Pinned < enough {
		t.Errorf("want at least %d requests, all pinned: %s", enough, r)
	}
}

// timeout is the registration's timeout: how long an API server waits for an answer.
const timeout = 10 * time.Second

// TestKilledReplica kills one of two replicas under load. Requests that it was answering fail, and
// those that are sent to it until the node's proxy knows that it is gone. Meanwhile the other
// replica pins. Nothing is stored unpinned, and no request fails after the replica is back.
func TestKilledReplica(t *testing.T) {
	n := theNode(t)
	l, stop := startLoad(t, n)
	defer stop()
	await(t, l, perSecond)
	killReplica(t, n)
	tagpinReady(t, n, 2)
	await(t, l, 2*atOnce) // requests that were in flight
	failed := l.Result().Failed
	await(t, l, 5*perSecond)
	stop()
	r := l.Wait()
	t.Logf("%d requests failed until the replica was back; in total %s", failed, r)
	if r.Unpinned > 0 || r.Failed > failed || r.Pinned < 5*perSecond {
		t.Errorf("want none unpinned, and no more than the %d failures until the replica was back: %s", failed, r)
	}
	if r.Gap > timeout {
		t.Errorf("nothing was pinned for %v, want a recovery within %v", r.Gap, timeout)
	}
}

// await waits until the given number of further requests have ended.
func await(t *testing.T, l *load.Load, more int) {
	t.Helper()
	done := l.Result().Done() + more
	poll.Until(t, func(context.Context) error {
		if r := l.Result(); r.Done() < done {
			return fmt.Errorf("the load has not progressed: %s", r)
		}
		return nil
	})
}

// killReplica kills the process of one replica, and returns when its container was restarted.
func killReplica(t *testing.T, n *node.Node) {
	t.Helper()
	pod := replicas(t, n)[0]
	if err := n.KillPod(string(pod.UID), "tagpin-webhook"); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, func(ctx context.Context) error {
		p, err := n.Client.CoreV1().Pods(node.TagpinNamespace).Get(ctx, pod.Name, metav1.GetOptions{})
		before := pod.Status.ContainerStatuses[0].RestartCount
		if err == nil && p.Status.ContainerStatuses[0].RestartCount == before {
			err = errors.New("the container was not restarted")
		}
		return err
	})
}

// replicas returns tagpin's pods.
func replicas(t *testing.T, n *node.Node) []corev1.Pod {
	t.Helper()
	list, err := n.Client.CoreV1().Pods(node.TagpinNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatal(len(list.Items), err)
	}
	return list.Items
}

// TestRotation renews tagpin's certificate and then its CA under load. No request may fail.
func TestRotation(t *testing.T) {
	n := theNode(t)
	l, stop := startLoad(t, n)
	defer stop()
	await(t, l, perSecond)
	rotate(t, n)
	await(t, l, perSecond)
	stop()
	r := l.Wait()
	t.Logf("while the certificate and the CA were renewed: %s", r)
	if r.Failed > 0 || r.Unpinned > 0 {
		t.Errorf("want all pinned: %s", r)
	}
}

// rotate removes the certificate from the secret, and then everything, as if each had expired. It
// returns when all replicas serve a certificate of the new CA.
func rotate(t *testing.T, n *node.Node) {
	t.Helper()
	former := served(t, n)
	patch := func(kind, text string) {
		t.Helper()
		clustertest.Kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "patch", "secret", "tagpin-webhook-tls", "--type="+kind, "--patch="+text)
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
	leaf := until("a new certificate", func(now *x509.Certificate) bool { return !now.Equal(former) })
	if !bytes.Equal(leaf.AuthorityKeyId, former.AuthorityKeyId) {
		t.Error("the new certificate has another CA")
	}
	patch("merge", `{"data":null}`)
	until("a certificate of a new CA", func(now *x509.Certificate) bool {
		return !bytes.Equal(now.AuthorityKeyId, former.AuthorityKeyId)
	})
}

// served returns the certificate that all replicas serve, or nil if they serve several.
func served(t *testing.T, n *node.Node) (leaf *x509.Certificate) {
	t.Helper()
	for _, pod := range replicas(t, n) {
		raw, err := n.Dial(t.Context(), "tcp", pod.Status.PodIP+":10250")
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it only reads the certificate
		conn := tls.Client(raw, config)
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
