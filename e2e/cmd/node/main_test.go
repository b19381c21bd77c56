// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/playground/playgroundtest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// want has the text that the output of a command in the guide must have, by the number of the
// paragraph and the beginning of the command. The other commands only have to succeed.
var want = map[string]string{
	"1 kubectl -n shop get deployment web": movingTag + "@sha256:",
	"1 kubectl get --raw":                  "version 1, push 1",
	"4 kubectl get --raw":                  "version 1, push 2",
	"5 kubectl get --raw":                  "version 1, push 1",
	"6 kubectl -n shop create":             "Warning: ",
	"7 kubectl -n shop get events":         "denied the request: ",
	"7 kubectl -n tagpin-system logs":      `"namespace":"shop"`,
	"7 for pod in":                         `result="unavailable"`,
}

// TestGuide does what the guide says, line by line, and then ends the node.
func TestGuide(t *testing.T) {
	if err := node.Supported(); err != nil {
		t.Skip(err)
	}
	s := playgroundtest.Begin(t, "node", start, "Ctrl-C ends it")
	paragraph, open := "", map[string]bool{}
	for key := range want {
		open[key] = true
	}
	for line := range strings.Lines(s.Guide) {
		line = strings.TrimRight(line, "\n")
		if number, _, ok := strings.Cut(line, ". "); ok && len(number) == 1 {
			paragraph = number
		}
		switch {
		case line == "In this terminal: press Enter":
			s.Type(t, "", movingTag+" is now sha256:")
		case strings.HasPrefix(line, "In this terminal: type "):
			s.Type(t, strings.TrimPrefix(line, "In this terminal: type "), "the registry ")
		case strings.HasPrefix(line, "  kubectl "), strings.HasPrefix(line, "  for "):
			if line == "  kubectl     "+strings.Fields(line)[1] {
				continue // the path of kubectl
			}
			delete(open, run(t, s, paragraph, strings.TrimSpace(line)))
		}
	}
	if len(open) > 0 {
		t.Errorf("the guide has no such commands: %v", open)
	}
	out, err := s.Shell("kubectl -n shop get pods -l app=web " +
		"-o jsonpath='{.items[*].spec.containers[0].image}'")
	if err != nil || strings.Count(out, "@sha256:") != 3 {
		t.Errorf("the images of the pods are %q (%v), want three with a digest", out, err)
	}
	s.End(t)
}

// run runs a command of the guide, and returns the key in want. Because a controller, a kubelet or
// a program may need a moment, it repeats commands that only read until the output is as wanted.
func run(t *testing.T, s *playgroundtest.Session, paragraph, command string) (key string) {
	t.Helper()
	for k := range want {
		if strings.HasPrefix(paragraph+" "+command, k) {
			key = k
		}
	}
	once := func(context.Context) error {
		out, err := s.Shell(command)
		if err == nil && !strings.Contains(out, want[key]) {
			err = errors.New("this is not in the output: " + want[key])
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
		return nil
	}
	if strings.Contains(command, " get ") || strings.Contains(command, " logs ") {
		poll.Until(t, once)
	} else if err := once(t.Context()); err != nil {
		t.Error(err)
	}
	return key
}
