// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// Drop drops the packets that the node's own programs, such as the API server, send to a TCP port
// of any address. Those of pods pass. restore ends that.
func (n *Node) Drop(ctx context.Context, port int) (restore func() error, err error) {
	if err := n.iptables(ctx, "--insert", port); err != nil {
		return nil, err
	}
	return func() error { return n.iptables(context.WithoutCancel(ctx), "--delete", port) }, nil
}

// iptables adds or removes the rule that drops packets to a port.
func (n *Node) iptables(ctx context.Context, action string, port int) error {
	cmd := exec.CommandContext(ctx, n.file("bin/iptables"), "--wait", action, "OUTPUT",
		"--protocol", "tcp", "--dport", strconv.Itoa(port), "--jump", "DROP")
	cmd.Env = append(os.Environ(), n.env...)
	output, err := os.Create(n.file("logs/iptables.log"))
	if err != nil {
		return err
	}
	defer output.Close() //nolint:errcheck // the process has its own
	cmd.Stdout, cmd.Stderr = output, output
	if err = n.namespaces.start(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("iptables %s: %w\n%s", action, err, tail(output.Name()))
	}
	return nil
}
