// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child/childtest"
)

// lives is an environment variable of the process that TestKilled starts and kills.
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

// live starts a whole cluster, prints its folder, and waits to be killed.
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
// it started ends. The next run removes the files and reports that.
func TestKilled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // so that no other run removes the folder
	dir, kill := childtest.Start(t, lives, "1")
	running := processesOf(dir)
	kill()
	if dir == "" {
		t.Fatal("the process started no cluster")
	}
	for _, want := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok",
		"tagpin-webhook",
	} {
		if !strings.Contains(strings.Join(running, " "), "("+want+")") {
			t.Errorf("the cluster's processes are %q, want %s among them", running, want)
		}
	}
	for end := time.Now().Add(soon); len(processesOf(dir)) > 0; time.Sleep(pollInterval) {
		if time.Now().After(end) {
			t.Fatalf("processes that still run: %q", processesOf(dir))
		}
	}
	var said bytes.Buffer
	next, err := newDir(&said)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Remove() }() // it is empty
	if _, err := os.Stat(dir); err == nil || !strings.Contains(said.String(), "removed "+dir) {
		t.Errorf("the next run finds %s (%v) and says %q, want it removed", dir, err, said.String())
	}
}
