// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"net"

	"github.com/tagpin/tagpin/e2e/forward"
)

// Kubectl returns the path of kubectl.
func (n *Node) Kubectl() string { return n.binary("kubectl") }

// Kubeconfig returns the path of a kubeconfig of the administrator that works outside of the node's
// network. The first call makes the API server reachable at a port of the machine's loopback
// address, until Stop.
func (n *Node) Kubeconfig(ctx context.Context) (path string, err error) {
	path = n.file("outside.kubeconfig")
	if n.outside != nil {
		return path, nil
	}
	n.outside, err = forward.Start(ctx, func(ctx context.Context) (net.Conn, error) {
		return n.Dial(ctx, "tcp", apiServerAddress)
	})
	if err != nil {
		return "", err
	}
	text := kubeconfigFor("https://"+n.outside.Address, n.file("ca.crt"), n.token)
	return path, n.write(map[string][]byte{"outside.kubeconfig": text})
}
