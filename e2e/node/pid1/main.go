// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command pid1 is the first process of a node. It is started in new namespaces, sets them up, and
// prints a line. Then it reaps orphaned processes until its stdin is closed. When it ends, all
// processes, mounts and interfaces in the namespaces end too.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/vishvananda/netlink"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pid1 ADDRESS/BITS")
		os.Exit(2)
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for _, step := range []func() error{mounts, sysctls, func() error { return network(os.Args[1]) }} {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, "pid1:", err)
			os.Exit(1)
		}
	}
	fmt.Println("ready")
	go reap(children)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the process at the other end closes it or ends
}

// reap waits for orphaned processes, which containers leave behind.
func reap(children <-chan os.Signal) {
	for range children {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 && err != syscall.EINTR {
				break
			}
		}
	}
}

// mount is a mount of a kind, with options.
type mount struct {
	kind, target, options string
	flags                 uintptr
}

// mounts gives the node its own folders at the fixed paths where the kubelet, containerd and the
// CNI plugins write.
func mounts() error {
	const upper, work = "/run/var-lib/upper", "/run/var-lib/work"
	if err := mountAll(
		mount{target: "/", flags: syscall.MS_REC | syscall.MS_PRIVATE},
		mount{kind: "proc", target: "/proc"},
		mount{kind: "tmpfs", target: "/run"},
		mount{kind: "tmpfs", target: "/var/log"},
	); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	return mountAll(mount{
		kind: "overlay", target: "/var/lib",
		options: "lowerdir=/var/lib,upperdir=" + upper + ",workdir=" + work,
	})
}

func mountAll(mounts ...mount) error {
	for _, m := range mounts {
		if err := syscall.Mount(m.kind, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// sysctls gives the kubelet its own files for the settings that it would change for the whole
// machine.
func sysctls() error {
	for _, name := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	} {
		from, to := filepath.Join("/run/sysctl", name), filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(to)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(from, value, 0o600); err != nil {
			return err
		}
		if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", from, to, err)
		}
	}
	return nil
}

// network gives the node its address, on a bridge without ports: the kubelet accepts no loopback
// address, and not every kernel has dummy interfaces. The bridge also gets the default route, so
// that kube-proxy can redirect packets to Services.
func network(address string) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	node := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "node"}}
	if err := netlink.LinkAdd(node); err != nil {
		return fmt.Errorf("making a bridge: %w", err)
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(node, addr); err != nil {
		return fmt.Errorf("adding address %s: %w", address, err)
	}
	for _, link := range []netlink.Link{loopback, node} {
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	route := &netlink.Route{LinkIndex: node.Index, Dst: everywhere, Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("adding the default route: %w", err)
	}
	return nil
}
