// SPDX-License-Identifier: Apache-2.0

// Package node runs a whole Kubernetes of one node: etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubelet, kube-proxy, containerd, runc, and a registry for its images.
//
//	n, err := node.Start(ctx, node.Options{Progress: os.Stderr})
//	defer n.Stop()
//	digest, err := n.Registry.Push("team/app:1", image)
//	out, err := n.Kubectl(ctx, nil, "create", "deployment", "app", "--image="+n.Registry.Host+"/team/app:1")
//
// It lives in mount, network and process namespaces of its own, and its pods in cgroups of its own: nothing listens on
// the machine's addresses, and with the first of its processes all of it ends. That process ends with the one that
// started the node, however that ends. What a killed one leaves behind, which is a folder and empty cgroups, the next
// Start removes. There is no cluster DNS: pods find the API server by its Service's address, and the registry by its own.
//
// It needs Linux, root, and Debian's packages or a system that has them.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/tools"
)

// ErrUnsupported tells that a node can't run on this machine at all.
var ErrUnsupported = errors.New("no whole node on this machine")

// Options are what a node is started with. The zero value works.
type Options struct {
	Progress       io.Writer // is told what goes on; default: nobody
	APIServerFlags []string  // further flags of kube-apiserver
}

// Node is a running node.
type Node struct {
	Config   *rest.Config // of a cluster administrator, for this process
	Client   kubernetes.Interface
	CA       *pki.CA // of the registry and the API server
	Registry *registry.Registry
	Dir      string // all that it writes, in logs/ what its processes say

	options    Options
	root       string   // of the repository
	binaries   string   // folder of Kubernetes'
	debian     string   // folder of Debian's packages
	env        []string // of all programs
	place      *place
	token      string // of the administrator
	namespaces *namespaces
	components []*component
}

// Start starts a node and returns when it takes pods. The first time it builds Kubernetes, which takes minutes. Stop is to
// be called unless it fails. Where a node can't run, the error is ErrUnsupported.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if err := supported(); err != nil {
		return nil, err
	}
	n, began := &Node{options: o}, time.Now()
	for _, step := range []func(context.Context) error{
		n.prepare, n.makePlace, n.makeNamespaces, n.startRegistry, n.writeFiles, n.startControlPlane, n.startNode,
	} {
		if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
			return nil, errors.Join(err, n.Stop())
		}
	}
	n.say(fmt.Sprintf("the node is ready after %.1f s", time.Since(began).Seconds()))
	return n, nil
}

// Stop ends all that runs and removes all that was written.
func (n *Node) Stop() error {
	var errs []error
	if n.Registry != nil {
		n.Registry.Stop()
	}
	if n.namespaces != nil {
		errs = append(errs, n.namespaces.end())
	}
	for _, c := range n.components {
		<-c.ended
	}
	if n.place != nil {
		errs = append(errs, n.place.remove())
	}
	return errors.Join(errs...)
}

func (n *Node) say(text string) { fmt.Fprintln(n.options.Progress, text) }

// prepare gets all programs.
func (n *Node) prepare(ctx context.Context) (err error) {
	module, err := tools.Module(ctx)
	if err != nil {
		return err
	}
	n.root = filepath.Dir(module)
	n.debian, n.env, err = tools.DebianFiles(ctx, n.options.Progress, "containerd", "runc", "containernetworking-plugins", "iptables")
	if errors.Is(err, tools.ErrNotDebian) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return err
	}
	n.binaries, err = tools.Build(ctx, n.options.Progress)
	return err
}

// makePlace makes the folder and the cgroups.
func (n *Node) makePlace(context.Context) error {
	left, err := sweep()
	if err != nil {
		return fmt.Errorf("removing what a killed run has left: %w", err)
	}
	for _, dir := range left {
		n.say("removed " + dir + " and its cgroups, which a run that was killed had left behind")
	}
	p, err := newPlace()
	if err != nil {
		return err
	}
	n.place, n.Dir = p, p.dir
	return errors.Join(os.Mkdir(n.file("logs"), 0o755), n.linkPrograms())
}

// linkPrograms makes the folder that comes first in the PATH. Debian links iptables when it installs the package.
func (n *Node) linkPrograms() error {
	bin := n.file("bin")
	libraries, err := filepath.Glob(filepath.Join(n.debian, "usr/lib/*-linux-*/xtables"))
	if err != nil {
		return err
	}
	n.env = append(n.env, "XTABLES_LIBDIR="+strings.Join(libraries, ":"),
		"PATH="+strings.Join([]string{bin, filepath.Join(n.debian, "usr/bin"), os.Getenv("PATH")}, ":"))
	errs := []error{os.Mkdir(bin, 0o755)}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, part := range []string{"", "-save", "-restore"} {
			errs = append(errs, os.Symlink(filepath.Join(n.debian, "usr/sbin/xtables-nft-multi"), filepath.Join(bin, name+part)))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) makeNamespaces(ctx context.Context) (err error) {
	n.say("making namespaces")
	binary := filepath.Join(n.Dir, "pid1")
	if err := tools.Go(ctx, filepath.Join(n.root, "e2e"), "build", "-trimpath", "-o", binary, "./node/pid1"); err != nil {
		return err
	}
	n.namespaces, err = newNamespaces(ctx, binary, address+"/16", n.place.lock)
	return err
}

// startRegistry starts it in this process, and there on the network.
func (n *Node) startRegistry(ctx context.Context) (err error) {
	if n.CA, err = pki.New(); err != nil {
		return err
	}
	listener, err := n.namespaces.listen(ctx, registryAddress)
	if err != nil {
		return err
	}
	n.Registry, err = registry.Start(registry.Options{CA: n.CA, Dir: n.Dir, Listener: listener, Dial: n.Dial})
	return err
}

// Dial connects to a number's address of the node's network: the node's own, a pod's, a Service's.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.namespaces.dial(ctx, network, address)
}
