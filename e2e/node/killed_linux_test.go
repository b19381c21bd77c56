// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tagpin/tagpin/e2e/child/childtest"
)

// lives is an environment variable of the process that TestKilled starts and kills.
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

// live starts a node, prints its folder and process namespace, and waits to be killed.
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

// TestKilled kills a process that has a node. All processes of the node end at once. The next start
// removes what is left, and nothing that belongs to another node.
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
	line, kill := childtest.Start(t, lives, "1")
	kill()
	dir, namespace, ok := strings.Cut(line, " ")
	if !ok {
		t.Fatal("the process started no node")
	}
	deadline := time.Now().Add(endDeadline)
	for left := processes(t, namespace); len(left) > 0; left = processes(t, namespace) {
		if time.Now().After(deadline) {
			t.Fatalf("processes that still run: %s", left)
		}
		time.Sleep(pollInterval)
	}
	if left, err := sweep(); err != nil || !slices.Contains(left, dir) {
		t.Fatalf("sweep = %q, %v, want %s", left, err, dir)
	}
	for path, want := range map[string]bool{dir: false, other.dir: true} {
		dirs, err := hierarchies()
		if err != nil {
			t.Fatal(err)
		}
		_, group := os.Stat(filepath.Join(dirs[0], filepath.Base(path)))
		if _, err := os.Stat(path); (err == nil) != want || (group == nil) != want {
			t.Errorf("Stat(%s) = %v, of its cgroup %v, want it to exist: %t", path, err, group, want)
		}
	}
}

// processes returns the processes in a namespace.
func processes(t *testing.T, namespace string) (found []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		// A process that has just ended is in no namespace.
		if of, err := os.Readlink(link); err == nil && of == namespace {
			found = append(found, link)
		}
	}
	return found
}
