// SPDX-License-Identifier: Apache-2.0

// Package node runs a whole Kubernetes cluster with one node: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet, kube-proxy, containerd, runc, and a registry
// for its images.
//
//	n, err := node.Start(ctx, node.Options{Progress: os.Stderr})
//	defer n.Stop()
//	digest, err := n.Registry.Push("team/app:1", image)
//	image := n.Registry.Host + "/team/app:1"
//	out, stderr, err := n.RunKubectl(ctx, nil, "create", "deployment", "app", "--image="+image)
//
// A node has its own mount, network and process namespaces, and its pods have their own cgroups.
// Nothing listens on the machine's addresses. When the first process in the namespaces ends, all
// others end too, and it ends with the process that started the node, for whatever reason. A killed
// run leaves a folder and empty cgroups, which the next Start removes. There is no cluster DNS:
// pods reach the API server by the address of its Service, and the registry by its own.
//
// A node needs Linux, root, and a Debian system, whose packages it downloads.
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

	"github.com/tagpin/tagpin/e2e/forward"
	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/tools"
)

// ErrUnsupported means that a node can't run on this machine.
var ErrUnsupported = errors.New("this machine can't run a node")

// Options are the options of Start. The zero value works.
type Options struct {
	Progress       io.Writer // gets lines about the progress; if nil, they are dropped
	APIServerFlags []string  // additional flags of kube-apiserver
}

// Node is a running node.
type Node struct {
	Config   *rest.Config // of an administrator, for this process
	Client   kubernetes.Interface
	CA       *pki.CA // of the registry and the API server
	Registry *registry.Registry
	Dir      string // all files; the logs are in logs/

	options    Options
	root       string // of the repository
	kubernetes tools.Kubernetes
	debian     string   // folder of Debian's packages
	env        []string // variables of all programs
	place      *place
	token      string // of the administrator
	namespaces *namespaces
	components []*component
	outside    *forward.Forward // of Kubeconfig
}

// Start starts a node and returns when it accepts pods. The first time it builds Kubernetes, which
// takes minutes. If Start succeeds, the caller must call Stop. If a node can't run here, the error
// is ErrUnsupported.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if err := Supported(); err != nil {
		return nil, err
	}
	n, began := &Node{options: o}, time.Now()
	for _, step := range []func(context.Context) error{
		n.prepare, n.makePlace, n.makeNamespaces, n.startRegistry, n.writeFiles,
		n.startControlPlane, n.startNode,
	} {
		if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
			return nil, errors.Join(err, n.Stop())
		}
	}
	n.say(fmt.Sprintf("the node is ready after %.1f s", time.Since(began).Seconds()))
	return n, nil
}

// Stop ends everything that runs and removes everything that was written.
func (n *Node) Stop() error {
	var errs []error
	if n.outside != nil {
		n.outside.Stop()
	}
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

// prepare gets the programs.
func (n *Node) prepare(ctx context.Context) (err error) {
	module, err := tools.Module(ctx)
	if err != nil {
		return err
	}
	n.root = filepath.Dir(module)
	n.debian, n.env, err = tools.NodeFiles(ctx, n.options.Progress)
	if errors.Is(err, tools.ErrNotDebian) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return err
	}
	n.kubernetes, err = tools.Build(ctx, n.options.Progress)
	if err == nil && !n.kubernetes.Newest {
		err = fmt.Errorf("%w: only the newest Kubernetes has a node here; unset %s",
			ErrUnsupported, tools.KubernetesVariable)
	}
	return err
}

// makePlace makes the folder and the cgroups.
func (n *Node) makePlace(context.Context) error {
	left, err := sweep()
	if err != nil {
		return fmt.Errorf("removing the files of a killed run: %w", err)
	}
	for _, dir := range left {
		n.say("removed " + dir + " and its cgroups, which a killed run had left behind")
	}
	p, err := newPlace()
	if err != nil {
		return err
	}
	n.place, n.Dir = p, p.dir
	return errors.Join(os.Mkdir(n.file("logs"), 0o755), n.linkPrograms())
}

// linkPrograms makes the first folder of the PATH. It has the links to iptables that Debian makes
// when the package is installed.
func (n *Node) linkPrograms() error {
	bin := n.file("bin")
	libraries, err := filepath.Glob(filepath.Join(n.debian, "usr/lib/*-linux-*/xtables"))
	if err != nil {
		return err
	}
	n.env = append(n.env, "XTABLES_LIBDIR="+strings.Join(libraries, ":"),
		"PATH="+strings.Join([]string{bin, filepath.Join(n.debian, "usr/bin"), os.Getenv("PATH")}, ":"))
	program := filepath.Join(n.debian, "usr/sbin/xtables-nft-multi")
	errs := []error{os.Mkdir(bin, 0o755)}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, part := range []string{"", "-save", "-restore"} {
			errs = append(errs, os.Symlink(program, filepath.Join(bin, name+part)))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) makeNamespaces(ctx context.Context) (err error) {
	n.say("making namespaces")
	binary := filepath.Join(n.Dir, "pid1")
	module := filepath.Join(n.root, "e2e")
	err = tools.Go(ctx, module, "build", "-trimpath", "-o", binary, "./node/pid1")
	if err != nil {
		return err
	}
	n.namespaces, err = newNamespaces(ctx, binary, address+"/16", n.place.lock)
	return err
}

// startRegistry starts the registry, which runs in this process and listens in the node's network.
func (n *Node) startRegistry(ctx context.Context) (err error) {
	if n.CA, err = pki.New(); err != nil {
		return err
	}
	listener, err := n.namespaces.listen(ctx, registryAddress)
	if err != nil {
		return err
	}
	n.Registry, err = registry.Start(registry.Options{
		CA: n.CA, Dir: n.Dir, Listener: listener, Dial: n.Dial,
	})
	return err
}

// Dial connects to an IP address in the node's network: of the node, a pod or a Service.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.namespaces.dial(ctx, network, address)
}
