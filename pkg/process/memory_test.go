// SPDX-License-Identifier: Apache-2.0

package process

import (
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-logr/logr/funcr"
)

func TestCgroupLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64 // 0 if there is no limit
	}{
		{"none", nil, 0},
		{"version 2", map[string]string{"sys/fs/cgroup/memory.max": "268435456\n", "proc/self/cgroup": "0::/\n"}, 256 << 20},
		{"version 2, unlimited", map[string]string{"sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"version 2, outside of a container", map[string]string{
			"proc/self/cgroup": "0::/system.slice/tagpin.service\n", "sys/fs/cgroup/system.slice/tagpin.service/memory.max": "1048576\n",
		}, 1 << 20},
		{"version 1", map[string]string{
			"proc/self/cgroup": "9:name=systemd:/\n4:memory:/kubepods/x\n0::/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n",
		}, 1 << 20},
		{"version 1, unlimited", map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"version 1, outside of a container", map[string]string{
			"proc/self/cgroup": "4:memory:/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1048576\n",
		}, 1 << 20},
	} {
		got := cgroupLimit(filesOf(tt.files))
		if none := got >= noLimit; none != (tt.want == 0) || !none && got != tt.want {
			t.Errorf("%s: cgroupLimit = %d, want %d", tt.name, got, tt.want)
		}
	}
}

func filesOf(texts map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range texts {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// TestLimitMemory checks that Go may use less than the whole limit, and that a lower limit by
// GOMEMLIMIT stays, but not a higher one.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, tt := range []struct {
		name, cgroup string
		given        int64 // by GOMEMLIMIT
		least, most  int64
		lines        int
	}{
		{"no limit", "max", math.MaxInt64, math.MaxInt64, math.MaxInt64, 0},
		{"GOMEMLIMIT alone", "max", 1 << 30, 1 << 30, 1 << 30, 1},
		{"cgroup alone", "4294967296", math.MaxInt64, 4 << 30 * 6 / 10, 4 << 30 * 7 / 10, 1},
		{"lower GOMEMLIMIT", "4294967296", 1 << 30, 1 << 30, 1 << 30, 1},
		{"GOMEMLIMIT of a larger pod", "268435456", 1 << 30, 256 << 20 * 6 / 10, 256 << 20 * 7 / 10, 1},
		{"small", "134217728", math.MaxInt64, 128 << 20 * 6 / 10, 128 << 20 * 7 / 10, 2},
	} {
		debug.SetMemoryLimit(tt.given)
		var lines []string
		log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
		LimitMemory(filesOf(map[string]string{"sys/fs/cgroup/memory.max": tt.cgroup}), log)
		if got := debug.SetMemoryLimit(-1); got < tt.least || got > tt.most {
			t.Errorf("%s: Go's limit is %d, want %d to %d", tt.name, got, tt.least, tt.most)
		}
		if len(lines) != tt.lines {
			t.Errorf("%s: the log has %q, want %d lines", tt.name, lines, tt.lines)
		}
		if tt.lines == 2 && !strings.Contains(lines[0], "lower than what tagpin's bounds are made for") {
			t.Errorf("%s: the log has %q, want a warning", tt.name, lines)
		}
	}
}
