// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryGroup is a cgroup with a memory limit, in version 1 or 2 of cgroups.
type memoryGroup struct {
	dir string
	v1  bool
}

// newMemoryGroup creates a cgroup. It needs root.
func newMemoryGroup(name string, limit int64) (g memoryGroup, err error) {
	root := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err == nil {
		g.v1 = true
	} else {
		root = filepath.Dir(root)
	}
	g.dir = filepath.Join(root, name)
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return memoryGroup{}, fmt.Errorf("making a cgroup: %w", err)
	}
	text := strconv.AppendInt(nil, limit, 10)
	if err := os.WriteFile(g.file("limit_in_bytes", "max"), text, 0o600); err != nil {
		return memoryGroup{}, errors.Join(fmt.Errorf("limiting a cgroup: %w", err), g.remove())
	}
	return g, nil
}

// file returns the path of a file of the memory controller.
func (g memoryGroup) file(v1, v2 string) string {
	if g.v1 {
		return filepath.Join(g.dir, "memory."+v1)
	}
	return filepath.Join(g.dir, "memory."+v2)
}

// command returns a command that runs a program in the group from its beginning.
func (g memoryGroup) command(program string, args []string) (shell string, all []string) {
	const enter = `echo $$ > "$0" && exec "$@"`
	head := []string{"-c", enter, filepath.Join(g.dir, "cgroup.procs"), program}
	return "/bin/sh", append(head, args...)
}

// peak returns the most memory that the group has used, in bytes.
func (g memoryGroup) peak() (int64, error) {
	text, err := os.ReadFile(g.file("max_usage_in_bytes", "peak"))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// remove removes the group, whose processes must have ended.
func (g memoryGroup) remove() error {
	err := os.Remove(g.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// resident returns the resident memory of a process in MiB.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			return float64(kib) / 1024, err
		}
	}
	return 0, errors.New("the status of the process has no VmRSS")
}
