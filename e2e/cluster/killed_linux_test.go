// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// lives is set in the environment of the process that TestKilled starts and kills.
const lives = "TAGPIN_CLUSTER_LIVES"

// soon bounds the wait for processes that the kernel kills.
const soon = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(lives) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, live(context.Background()))
	os.Exit(1)
}

// live has a whole cluster until it is killed, and says in which folder.
func live(ctx context.Context) error {
	c, err := Start(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if err := c.StartControllers(ctx, 1); err != nil {
		return err
	}
	fmt.Println(c.dir)
	select {}
}

// TestKilled kills a process that has a cluster, as a time limit or a panic does. Everything that
// it started ends, and the next run removes the files and says so.
func TestKilled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // no other run sweeps it
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
	dir := strings.TrimSpace(line)
	running := processesOf(dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if dir == "" {
		t.Fatal("there was no cluster")
	}
	for _, want := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok",
		"tagpin-webhook",
	} {
		if !strings.Contains(strings.Join(running, " "), "("+want+")") {
			t.Errorf("the cluster's processes are %q, want %s too", running, want)
		}
	}
	for end := time.Now().Add(soon); len(processesOf(dir)) > 0; time.Sleep(pollInterval) {
		if time.Now().After(end) {
			t.Fatalf("processes that are left: %q", processesOf(dir))
		}
	}
	var said bytes.Buffer
	next, err := newDir(&said)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Remove() }() // it is empty
	if _, err := os.Stat(dir); err == nil || !strings.Contains(said.String(), "removed "+dir) {
		t.Errorf("the next run finds %s: %v, and says %q, want it removed", dir, err, said.String())
	}
}
