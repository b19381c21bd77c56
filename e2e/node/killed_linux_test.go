// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lives is set in the environment of the process that TestKilled starts and kills.
const lives = "TAGPIN_NODE_LIVES"

func TestMain(m *testing.M) {
	if os.Getenv(lives) == "" {
		os.Exit(m.Run())
	}
	if err := live(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// live has a node until it is killed, and tells where, and which process namespace is the node's.
func live() error {
	n, err := Start(context.Background(), Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	processes, err := os.Readlink(n.namespaces.paths[unix.CLONE_NEWPID])
	if err != nil {
		return err
	}
	fmt.Println(n.Dir, processes)
	select {}
}

// TestKilled kills a process that has a node. All of the node's processes end at once; what is left is swept away by the
// next one's start, and what is another node's is not.
func TestKilled(t *testing.T) {
	if err := supported(); err != nil {
		t.Skip(err)
	}
	other, err := newPlace()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.remove(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), lives+"=1"), os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	dir, namespace, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if !ok {
		t.Fatal("there was no node")
	}
	deadline := time.Now().Add(endDeadline)
	for left := processes(t, namespace); len(left) > 0; left = processes(t, namespace) {
		if time.Now().After(deadline) {
			t.Fatalf("processes that are left: %s", left)
		}
		time.Sleep(pollInterval)
	}
	if left, err := sweep(); err != nil || !slices.Contains(left, dir) {
		t.Fatalf("sweep = %q, %v, want it to say %s", left, err, dir)
	}
	for path, want := range map[string]bool{dir: false, other.dir: true} {
		dirs, err := hierarchies()
		if err != nil {
			t.Fatal(err)
		}
		_, group := os.Stat(filepath.Join(dirs[0], filepath.Base(path)))
		if _, err := os.Stat(path); (err == nil) != want || (group == nil) != want {
			t.Errorf("%s: %v, its cgroup: %v, want it there: %t", path, err, group, want)
		}
	}
}

// processes are those of a namespace.
func processes(t *testing.T, namespace string) (found []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		// One that has just ended is in none.
		if of, err := os.Readlink(link); err == nil && of == namespace {
			found = append(found, link)
		}
	}
	return found
}
