// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package network

import "net"

// closeIfSilent does nothing: only Linux has the option for it.
func closeIfSilent(net.Conn) {}
