// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what the kernel reports about the memory of a container, in bytes.
type Memory struct {
	Group string // the container's cgroup, which changes when the container restarts
	Peak  int64  // since the container started, or since ResetMemoryPeak
	Limit int64  // the kernel kills a container that needs more
}

// Files of a cgroup, in version 1 and version 2.
const (
	peakV1, peakV2   = "memory.max_usage_in_bytes", "memory.peak"
	limitV1, limitV2 = "memory.limit_in_bytes", "memory.max"
)

// PodMemory returns the memory of the container of a pod that runs a program.
func (n *Node) PodMemory(uid, program string) (m Memory, err error) {
	group, err := n.memoryGroup(uid, program)
	if err != nil {
		return Memory{}, err
	}
	peak, errPeak := readNumber(group, peakV1, peakV2)
	limit, errLimit := readNumber(group, limitV1, limitV2)
	return Memory{Group: group, Peak: peak, Limit: limit}, errors.Join(errPeak, errLimit)
}

// ResetMemoryPeak sets the peak to what is used now. With cgroup version 2, kernels before 6.12
// can't do that, and the peak stays.
func (n *Node) ResetMemoryPeak(uid, program string) error {
	group, err := n.memoryGroup(uid, program)
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(group, peakV1), []byte("0"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		_ = os.WriteFile(filepath.Join(group, peakV2), []byte("0"), 0) // not every kernel supports it
		return nil
	}
	return err
}

// memoryGroup returns the folder of the cgroup that counts the memory of a pod's program.
func (n *Node) memoryGroup(uid, program string) (string, error) {
	root := filepath.Join(cgroupRoot, "memory")
	if _, err := os.Stat(root); err != nil {
		root = cgroupRoot // version 2
	}
	found := ""
	visit := func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "cgroup.procs" || !strings.Contains(path, uid) {
			return nil //nolint:nilerr // processes may have ended meanwhile
		}
		text, _ := os.ReadFile(path) // as above
		for _, pid := range strings.Fields(string(text)) {
			name, err := os.Readlink("/proc/" + pid + "/exe")
			if err == nil && filepath.Base(name) == program {
				found = filepath.Dir(path)
			}
		}
		return nil
	}
	err := filepath.WalkDir(filepath.Join(root, n.place.name()), visit)
	if err == nil && found == "" {
		err = ErrNoProcess
	}
	return found, err
}

// readNumber reads the first of the files that exists.
func readNumber(group string, names ...string) (int64, error) {
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(group, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		number, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			// Without a limit, version 2 has the text "max".
			return 0, fmt.Errorf("%s has no limit: %w", filepath.Join(group, name), err)
		}
		return number, nil
	}
	return 0, fmt.Errorf("%s has none of %q", group, names)
}

// Listen listens at a free port of the node's address, which the node's pods can reach.
func (n *Node) Listen(ctx context.Context) (net.Listener, error) {
	return n.namespaces.listen(ctx, address+":0")
}

// DialFrom connects to an IP address as a pod does: from the pod's network namespace, and therefore
// with the pod's address.
func (n *Node) DialFrom(ctx context.Context, uid, network, address string) (net.Conn, error) {
	dirs, err := hierarchies()
	if err != nil {
		return nil, err
	}
	pids := processesOf(filepath.Join(dirs[0], n.place.name()), uid)
	if len(pids) == 0 {
		return nil, ErrNoProcess
	}
	return networkOf(pids[0]).dial(ctx, network, address)
}
