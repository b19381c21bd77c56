// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
)

// namespaces exist only on Linux.
type namespaces struct{}

func networkOf(int) *namespaces { return &namespaces{} }

func supported() error { return fmt.Errorf("%w: it needs Linux", ErrUnsupported) }

func newNamespaces(context.Context, string, string, *os.File) (*namespaces, error) {
	return nil, supported()
}

func (*namespaces) end() error            { return nil }
func (*namespaces) root() string          { return "" }
func (*namespaces) start(*exec.Cmd) error { return supported() }

func (*namespaces) dial(context.Context, string, string) (net.Conn, error) {
	return nil, supported()
}

func (*namespaces) listen(context.Context, string) (net.Listener, error) { return nil, supported() }
