// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// closeIfSilent lets the kernel close a connection when its peer has not confirmed for a while what
// was sent (TCP_USER_TIMEOUT in tcp(7)): a firewall may have forgotten the connection. Then
// net/http sends the request again.
func closeIfSilent(conn net.Conn) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // without it, only the request's timeout ends the wait
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
			int(silence.Milliseconds()))
	})
}
