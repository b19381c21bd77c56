// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/playground/playgroundtest"
)

// TestGuide runs the commands of the guide, and then ends the cluster.
func TestGuide(t *testing.T) {
	s := playgroundtest.Begin(t, "cluster", start, "Ctrl-C ends it")
	var failed []string
	for line := range strings.Lines(s.Guide) {
		command, ok := strings.CutPrefix(line, "  kubectl -n ")
		if !ok {
			continue
		}
		if out, err := s.Shell("kubectl -n " + command); err != nil {
			failed = append(failed, command+out)
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0], "401 Unauthorized") {
		t.Errorf("%d commands failed, want only the one without its pull secret:\n%s",
			len(failed), strings.Join(failed, "\n"))
	}
	out, err := s.Shell("kubectl create namespace mine && kubectl -n mine run p --image=a")
	if err != nil {
		t.Errorf("a pod in a new namespace: %v\n%s", err, out)
	}
	s.Type(t, "", movingTag+" is now sha256:")
	s.End(t)
}
