// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// endDeadline bounds the wait for processes that were killed.
	endDeadline = 20 * time.Second
)

// hierarchies returns the folders of the cgroup hierarchies: several in version 1, one in version
// 2.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, nil
	}
	// Version 1 also has links to folders, such as cpu for cpu,cpuacct. They are left out.
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return dirs, nil
}

// makeCgroups makes the cgroup of all pods of a node.
func makeCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		group := filepath.Join(dir, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			return fmt.Errorf("making a cgroup: %w", err)
		}
		if filepath.Base(dir) != "cpuset" {
			continue
		}
		// In version 1 a new cpuset is empty, and accepts no processes.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			all, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(group, file), bytes.TrimSpace(all), 0o600); err != nil {
				return fmt.Errorf("filling a cgroup: %w", err)
			}
		}
	}
	return nil
}

// removeCgroups removes a cgroup and all below it when the processes in it have ended.
func removeCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		deadline := time.Now().Add(endDeadline)
		for {
			err := removeTree(filepath.Join(dir, name))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("removing a cgroup: %w", err)
			}
			time.Sleep(pollInterval)
		}
	}
	return nil
}

// removeTree removes a folder and those below it. The kernel removes the files in them.
func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		if e := os.Remove(dir); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// processesOf returns the processes in the cgroups below root that belong to the pod with the given
// UID, by their numbers in the process namespace of this process.
func processesOf(root, uid string) (pids []int) {
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "cgroup.procs" || !strings.Contains(path, uid) {
			return nil //nolint:nilerr // processes may have ended meanwhile
		}
		text, _ := os.ReadFile(path) // as above
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}
