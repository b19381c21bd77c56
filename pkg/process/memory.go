// SPDX-License-Identifier: Apache-2.0

package process

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
)

// memoryPercent is the part of the memory limit that Go may use. The rest is for what Go does not
// count: the kernel's socket buffers, the program itself, and what grows before the garbage
// collector has run.
const memoryPercent = 65

// enoughMemory is the memory limit that the bounds of the webhook and of the audit are made for,
// which is the chart's.
const enoughMemory = 256 << 20

// noLimit is larger than any memory limit. Version 1 of cgroups has a huge number for no limit.
const noLimit = math.MaxInt64 / 2

// LimitMemory makes the garbage collector work harder before the process reaches the memory limit
// of its cgroup, and switches huge pages off. Without a limit nothing changes. A lower limit that
// Go has already, by GOMEMLIMIT, stays. A higher one does not: the pods of one chart may share the
// variable, and each has a memory limit of its own. root is the root of the file system.
func LimitMemory(root fs.FS, log logr.Logger) {
	limit := cgroupLimit(root)
	if limit < enoughMemory {
		log.Info("the memory limit is lower than what tagpin's bounds are made for: "+
			"many large requests or objects at once may end the process",
			"bytes", limit, "enough", enoughMemory)
	}
	given := debug.SetMemoryLimit(-1)
	if limit < noLimit {
		if err := useSmallPages(); err != nil {
			log.Info("huge pages can't be switched off for this process: on a node that gives "+
				"them to all processes, memory may run out; raise the memory limit, or set "+
				"transparent_hugepage to madvise on the node", "reason", err.Error())
		}
		given = min(given, limit/100*memoryPercent)
		debug.SetMemoryLimit(given)
	}
	if given < noLimit {
		log.Info("memory limit of Go, by GOMEMLIMIT or the limit of the cgroup", "bytes", given)
	}
}

// cgroupLimit returns the memory limit of the process in bytes, in either version of cgroups. If
// there is none, it returns noLimit or more. A container usually sees its own cgroup as the root.
func cgroupLimit(root fs.FS) int64 {
	files := []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}
	text, _ := fs.ReadFile(root, "proc/self/cgroup") // if it is missing, there is still the root
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path (cgroups(7))
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[1] == "":
			files = append(files, path.Join("sys/fs/cgroup", parts[2], "memory.max"))
		case parts[1] == "memory":
			files = append(files,
				path.Join("sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	limit := int64(math.MaxInt64)
	for _, file := range files {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	return limit
}
