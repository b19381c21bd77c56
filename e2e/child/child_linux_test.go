// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child/childtest"
	"github.com/tagpin/tagpin/e2e/tools"
)

// parent is an environment variable of the process that TestKilled starts and kills. Its value is
// the path of a tether.
const parent = "TAGPIN_CHILD_PARENT"

// soon bounds the wait for the kernel.
const soon = 20 * time.Second

func TestMain(m *testing.M) {
	if tether := os.Getenv(parent); tether != "" {
		fmt.Fprintln(os.Stderr, live(tether))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// live starts a program by Start and another one by a tether, prints their process IDs, and waits
// to be killed.
func live(tether string) error {
	one := exec.CommandContext(context.Background(), "sleep", "3600")
	if _, err := Start(one); err != nil {
		return err
	}
	self := strconv.Itoa(os.Getpid())
	other := exec.CommandContext(context.Background(), tether, self, "/bin/sleep", "3600")
	if _, err := OnThread(other.Start); err != nil {
		return err
	}
	fmt.Println(one.Process.Pid, other.Process.Pid)
	select {}
}

// TestKilled kills a process that has children, and checks that they end too.
func TestKilled(t *testing.T) {
	tether := build(t)
	line, kill := childtest.Start(t, parent, tether)
	kill()
	children := strings.Fields(line)
	if len(children) != 2 {
		t.Fatalf("the children are %q, want two process IDs", line)
	}
	for i, child := range children {
		if !gone(t, child) {
			t.Errorf("child %d of a killed process is still running", i)
		}
	}
}

// TestOutlivesThreads checks that children keep running when threads other than their own end.
func TestOutlivesThreads(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "3600")
	ended, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	self := strconv.Itoa(os.Getpid())
	tethered := exec.CommandContext(t.Context(), build(t), self, "/bin/sleep", "3600")
	release, err := OnThread(tethered.Start)
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		over := make(chan struct{})
		go func() { runtime.LockOSThread(); close(over) }()
		<-over
	}
	for _, c := range []*exec.Cmd{cmd, tethered} {
		if err := c.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%s has ended: %v", c, err)
		}
	}
	for _, c := range []*exec.Cmd{cmd, tethered} {
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	<-ended
	_ = tethered.Wait() // it was killed
	release()
}

func TestStartFails(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), filepath.Join(t.TempDir(), "nothing"))
	if _, err := Start(cmd); err == nil {
		t.Error("Start of a missing program succeeded")
	}
}

// build builds the tether.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tether")
	err := tools.Go(t.Context(), "..", "build", "-trimpath", "-o", path, "./child/tether")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// gone waits until a process has ended and reports whether it did. If not, it kills the process.
func gone(t *testing.T, number string) bool {
	t.Helper()
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		// A zombie has ended, but its parent has not waited for it.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	return false
}
