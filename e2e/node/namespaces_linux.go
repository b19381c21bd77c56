// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces are the namespaces of a node's processes. Their first process ends when this process
// ends for whatever reason, and all others end with it.
type namespaces struct {
	first *exec.Cmd
	stdin io.Closer // closing it ends the first process
	paths map[int]string
}

// networkOf returns the network namespace of a process.
func networkOf(pid int) *namespaces {
	return &namespaces{paths: map[int]string{unix.CLONE_NEWNET: fmt.Sprintf("/proc/%d/ns/net", pid)}}
}

// supported returns nil if a node can run here, or else why it can't.
func supported() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root, to make namespaces", ErrUnsupported)
	}
	probe := exec.CommandContext(context.Background(), "true")
	probe.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
	}
	if err := probe.Run(); err != nil {
		return fmt.Errorf("%w: root can't make namespaces here: %w", ErrUnsupported, err)
	}
	return nil
}

// newNamespaces starts the program pid1 in new namespaces, and returns when it has set them up.
// lock stays locked as long as that process runs.
func newNamespaces(ctx context.Context, pid1, address string, lock *os.File) (*namespaces, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), pid1, address)
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, // it gets no Ctrl-C from the terminal
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("making namespaces: %w", err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		err := errors.Join(cmd.Wait(), errors.New(stderr.String()))
		return nil, fmt.Errorf("making namespaces: %w", err)
	}
	of := func(name string) string { return fmt.Sprintf("/proc/%d/ns/%s", cmd.Process.Pid, name) }
	return &namespaces{first: cmd, stdin: stdin, paths: map[int]string{
		unix.CLONE_NEWPID: of("pid"), unix.CLONE_NEWIPC: of("ipc"), unix.CLONE_NEWUTS: of("uts"),
		unix.CLONE_NEWNET: of("net"), unix.CLONE_NEWNS: of("mnt"),
	}}, nil
}

// end ends all processes in the namespaces, and waits until they have ended.
func (n *namespaces) end() error {
	_ = n.stdin.Close()
	err := n.first.Wait()
	if n.first.ProcessState.Success() {
		return nil
	}
	return err
}

// root returns the folder where this process finds the namespaces' files.
func (n *namespaces) root() string { return fmt.Sprintf("/proc/%d/root", n.first.Process.Pid) }

// enter runs f in some of the namespaces, on a thread that ends afterwards.
func (n *namespaces) enter(f func() error, kinds ...int) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, because the thread can't leave the namespaces
		if err := n.move(kinds); err != nil {
			result <- fmt.Errorf("entering the node's namespaces: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}

// move moves this thread to the namespaces. All files are opened first, because /proc is another
// one there.
func (n *namespaces) move(kinds []int) (err error) {
	var opened []*os.File
	for _, kind := range kinds {
		file, err := os.Open(n.paths[kind])
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // nothing was written
		opened = append(opened, file)
	}
	// A thread that shares its working folder can't move.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, file := range opened {
		if err := unix.Setns(int(file.Fd()), kinds[i]); err != nil {
			return err
		}
	}
	return nil
}

// start starts a program in the namespaces, as a child of this process.
func (n *namespaces) start(cmd *exec.Cmd) error {
	return n.enter(cmd.Start, unix.CLONE_NEWPID, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS,
		unix.CLONE_NEWNET, unix.CLONE_NEWNS)
}

// dial connects from the network namespace. address must be an IP address, because the lookup of a
// name would use other threads.
func (n *namespaces) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.enter(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	}, unix.CLONE_NEWNET)
	return conn, err
}

// listen listens in the network namespace.
func (n *namespaces) listen(ctx context.Context, address string) (
	listener net.Listener, err error,
) {
	err = n.enter(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
		return err
	}, unix.CLONE_NEWNET)
	return listener, err
}
