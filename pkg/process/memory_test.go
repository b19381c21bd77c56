// SPDX-License-Identifier: Apache-2.0

package process

import (
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-logr/logr"
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

// TestLimitMemory checks that Go may use less than the whole limit, and that GOMEMLIMIT takes
// precedence.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	limited := filesOf(map[string]string{"sys/fs/cgroup/memory.max": "4294967296"})
	LimitMemory(limited, "1GiB", logr.Discard())
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("with GOMEMLIMIT the limit is %d, want it unchanged, %d", got, before)
	}
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	LimitMemory(limited, "", log)
	if len(lines) != 1 {
		t.Errorf("with a large limit the log has %q, want one line", lines)
	}
	lines = nil
	LimitMemory(filesOf(map[string]string{"sys/fs/cgroup/memory.max": "134217728"}), "", log)
	if len(lines) != 2 || !strings.Contains(lines[0], "lower than what tagpin's bounds are made for") {
		t.Errorf("with a small limit the log has %q, want a warning", lines)
	}
	LimitMemory(limited, "", log)
	if got := debug.SetMemoryLimit(-1); got < 4<<30*6/10 || got > 4<<30*7/10 {
		t.Errorf("with a limit of 4 GiB, Go's is %d, want about 65%%", got)
	}
}
