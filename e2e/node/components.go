// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	// startDeadline bounds the wait for one component. The machine may be busy.
	startDeadline = 2 * time.Minute
	pollInterval  = 20 * time.Millisecond
)

// component is one program of the node.
type component struct {
	name, log string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when the process has ended
}

// run starts a program of the node. It ends with the node's namespaces, and not with the context.
func (n *Node) run(ctx context.Context, binary string, flags ...string) error {
	c := &component{name: filepath.Base(binary), ended: make(chan struct{})}
	c.log = n.file("logs/" + c.name + ".log")
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process has its own
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), binary, flags...)
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = n.Dir, log, log
	c.cmd.Env = append(os.Environ(), n.env...)
	if err := n.namespaces.start(c.cmd); err != nil {
		return fmt.Errorf("starting %s: %w", c.name, err)
	}
	n.components = append(n.components, c)
	go func() {
		_ = c.cmd.Wait() // ProcessState says how it ended
		close(c.ended)
	}()
	return nil
}

// startControlPlane starts etcd and kube-apiserver, and at the same time containerd.
func (n *Node) startControlPlane(ctx context.Context) error {
	n.say("starting etcd, kube-apiserver and containerd")
	err := errors.Join(
		n.run(ctx, filepath.Join(n.debian, "usr/bin/containerd"), "--config="+n.file("containerd.toml")),
		n.run(ctx, n.binary("etcd"), "--data-dir="+n.file("etcd"), "--unsafe-no-fsync"),
		n.run(ctx, n.binary("kube-apiserver"), append([]string{
			"--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=0.0.0.0", "--advertise-address=" + address,
			"--service-cluster-ip-range=" + serviceRange,
			"--tls-cert-file=" + n.file("apiserver.crt"),
			"--tls-private-key-file=" + n.file("apiserver.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + n.file("service-accounts.crt"),
			"--service-account-signing-key-file=" + n.file("service-accounts.key"),
			"--token-auth-file=" + n.file("tokens.csv"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--enable-aggregator-routing=true", // calls webhooks without kube-proxy
			"--kubelet-preferred-address-types=InternalIP",
		}, n.options.APIServerFlags...)...),
	)
	if err != nil {
		return err
	}
	if err := n.connect(); err != nil {
		return err
	}
	return n.wait(ctx, "kube-apiserver", func(ctx context.Context) error {
		return n.Client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// connect makes the administrator's client.
func (n *Node) connect() (err error) {
	n.Config = &rest.Config{
		Host: apiServer, BearerToken: n.token, TLSClientConfig: rest.TLSClientConfig{CAData: n.CA.PEM},
		Dial: n.Dial, QPS: -1,
	}
	n.Client, err = kubernetes.NewForConfig(n.Config)
	return err
}

// startNode starts the controllers and the node's own programs, and waits until pods can be
// created.
func (n *Node) startNode(ctx context.Context) error {
	n.say("starting kube-controller-manager, kube-scheduler, kubelet and kube-proxy")
	if err := n.pushPause(ctx); err != nil {
		return err
	}
	// The kubelet ends if it finds no containerd.
	if err := n.wait(ctx, "containerd", func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "unix", n.namespaces.root()+containerdSocket)
		if err == nil {
			_ = c.Close()
		}
		return err
	}); err != nil {
		return err
	}
	controller := []string{
		"--leader-elect=false", "--bind-address=127.0.0.1",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
	if err := errors.Join(
		n.runAs(ctx, "kube-controller-manager", append([]string{
			"--service-account-private-key-file=" + n.file("service-accounts.key"),
			"--root-ca-file=" + n.file("ca.crt"), "--use-service-account-credentials=true",
			"--flex-volume-plugin-dir=" + n.file("volume-plugins"),
		}, controller...)...),
		n.runAs(ctx, "kube-scheduler", controller...),
		n.runAs(ctx, "kubelet",
			"--config="+n.file("kubelet.yaml"), "--root-dir="+n.file("kubelet"),
			"--cert-dir="+n.file("kubelet-certificates"),
			"--hostname-override="+name, "--node-ip="+address),
		n.runAs(ctx, "kube-proxy",
			"--proxy-mode=iptables", "--hostname-override="+name, "--bind-address="+address,
			// These settings are the machine's, and must not change.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
			"--conntrack-tcp-timeout-close-wait=0"),
	); err != nil {
		return err
	}
	account := func(ctx context.Context) error {
		api := n.Client.CoreV1().ServiceAccounts("default")
		_, err := api.Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	return errors.Join(
		n.wait(ctx, "the node", n.ready), n.wait(ctx, "the default service account", account),
	)
}

func (n *Node) ready(ctx context.Context) error {
	node, err := n.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if c.Status == corev1.ConditionTrue {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return errors.New("the kubelet has reported no status")
}

func (n *Node) binary(name string) string { return n.kubernetes.File(name) }

// runAs runs a program of Kubernetes as the user with the program's name.
func (n *Node) runAs(ctx context.Context, name string, flags ...string) error {
	kubeconfig := "--kubeconfig=" + n.file(name+".kubeconfig")
	return n.run(ctx, n.binary(name), append([]string{kubeconfig}, flags...)...)
}

// wait calls f until it succeeds. It fails early if a program has ended.
func (n *Node) wait(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		for _, c := range n.components {
			select {
			case <-c.ended:
				return fmt.Errorf("%s: %s\n%s", c.name, c.cmd.ProcessState, tail(c.log))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", what, err, n.Logs())
		case <-time.After(pollInterval):
		}
	}
}

// Logs returns the last lines of each program's log.
func (n *Node) Logs() string {
	var all strings.Builder
	for _, c := range n.components {
		fmt.Fprintf(&all, "== %s\n%s\n", c.log, tail(c.log))
	}
	return all.String()
}

// tail returns the last lines of a file.
func tail(file string) string {
	const lines = 30
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
