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
	"syscall"
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
	err = writeText(filepath.Join(group, peakV1), "0")
	if errors.Is(err, fs.ErrNotExist) {
		_ = writeText(filepath.Join(group, peakV2), "0") // not every kernel supports it
		return nil
	}
	return err
}

// TightenMemory lowers the limit of the memory of a pod's program to about what it uses now, so
// that the kernel kills it when it needs more. A restarted container has its own limit again.
func (n *Node) TightenMemory(uid, program string) error {
	if err := n.ResetMemoryPeak(uid, program); err != nil {
		return err
	}
	now, err := n.PodMemory(uid, program)
	if err != nil {
		return err
	}
	// If the kernel can't free enough memory, it refuses the limit, or kills the program at once.
	for limit := now.Peak; limit > 0 && err == nil; limit -= tightenStep {
		text := strconv.FormatInt(limit, 10)
		err = writeText(filepath.Join(now.Group, limitV1), text)
		if errors.Is(err, fs.ErrNotExist) {
			err = writeText(filepath.Join(now.Group, limitV2), text)
		}
	}
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, fs.ErrNotExist) {
		return nil // it is tight, or the program was killed and its group removed
	}
	return err
}

// OutOfMemoryKills returns how many processes the kernel has killed for their memory since the
// machine started, in all cgroups. With cgroup version 1, containerd does not always tell such a
// kill from another one: if the container's cgroup is gone before containerd looks, the reason is
// Error instead of OOMKilled.
func OutOfMemoryKills() (int64, error) {
	text, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if number, found := strings.CutPrefix(line, "oom_kill "); found {
			return strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		}
	}
	return 0, errors.New("/proc/vmstat has no oom_kill, which Linux has since 4.13")
}

// tightenStep is by how much TightenMemory lowers a limit at a time.
const tightenStep = 1 << 20

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

// writeText writes a file of a cgroup. os.WriteFile would try to create the file if it does not
// exist, and the kernel then returns an error that does not say so.
func writeText(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
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
