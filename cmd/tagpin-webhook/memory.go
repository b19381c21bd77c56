// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
)

// memoryShare is the part of the memory limit that Go may use, in hundredths. The rest is for what Go
// does not count: the kernel's socket buffers, the program itself, and what grows before the garbage
// collector has run.
const memoryShare = 65

// enoughMemory is what the bounds of bounds.go are made for, the limit of the chart.
const enoughMemory = 256 << 20

// noLimit is larger than any limit of a cgroup that is one: version 1 says "none" by a huge number.
const noLimit = math.MaxInt64 / 2

// limitMemory makes the garbage collector work harder before the limit of the process's cgroup is
// reached, unless the variable GOMEMLIMIT, which is given, says otherwise. root is the root of the
// file system.
func limitMemory(root fs.FS, given string, log logr.Logger) {
	limit := cgroupLimit(root)
	if limit < enoughMemory {
		log.Info("the memory limit is lower than what tagpin's bounds are made for: "+
			"many large requests at once may end the process", "bytes", limit, "enough", enoughMemory)
	}
	if given != "" {
		log.Info("memory limit of Go, by GOMEMLIMIT", "value", given)
		return
	}
	if limit >= noLimit {
		return
	}
	limit = limit / 100 * memoryShare
	debug.SetMemoryLimit(limit)
	log.Info("memory limit of Go, by the limit of the cgroup", "bytes", limit)
}

// cgroupLimit is the memory limit of the process in bytes, in either version of cgroups; noLimit or
// more if there is none. In a container its own cgroup is usually the root of what it sees.
func cgroupLimit(root fs.FS) int64 {
	files := []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}
	text, _ := fs.ReadFile(root, "proc/self/cgroup") // without it there is the root
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path (cgroups(7))
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[1] == "":
			files = append(files, path.Join("sys/fs/cgroup", parts[2], "memory.max"))
		case parts[1] == "memory":
			files = append(files, path.Join("sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	limit := int64(math.MaxInt64)
	for _, file := range files {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	return limit
}
