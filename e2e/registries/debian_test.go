// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/tools"
)

var (
	listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
	// accessLine matches a line in Apache's combined log format.
	accessLine = regexp.MustCompile(`"(\S+) (\S+) HTTP/\S+" (\d+) \d+ "[^"]*" "([^"]*)"`)
)

// debian is Debian's docker-registry, with its images in a folder. Each endpoint is a process of
// its own.
type debian struct{ dir string }

func newDebian(t testing.TB) store { return &debian{t.TempDir()} }

// open starts a process. If the access is bearer, the realm is on another host, as that of Docker
// Hub is.
func (d *debian) open(t testing.TB, a access) *endpoint {
	t.Helper()
	e := &endpoint{access: a, asked: func() asked { return asked{} }}
	var auth map[string]any
	realmHost := ""
	if a == bearer {
		e.realm = newRealm(t)
		r := &recorder{handler: e.realm}
		realmHost = newServer(t, newLeaf(t, secure), r).Listener.Addr().String()
		e.asked = r.take
		auth = e.realm.Parameters("https://"+realmHost+"/token", rootsFile())
	}
	http := map[string]any{"addr": "127.0.0.1:0"}
	if a != plain {
		certificate, key := writeLeaf(t, newLeaf(t, a))
		http["tls"] = map[string]any{"certificate": certificate, "key": key}
	}
	file := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(file, config(t, d.dir, a, auth, http), 0o600); err != nil {
		t.Fatal(err)
	}
	address := ""
	p := startProgram(t, env.dockerRegistry, []string{"serve", file}, func(log string) error {
		found := listening.FindStringSubmatch(log)
		if found == nil {
			return errors.New("it does not listen")
		}
		address = found[1]
		return nil
	})
	e.host, e.kill = newHost(address, a), func() { _ = p.Kill() }
	if realmHost != "" {
		e.host.AuthHosts = []string{realmHost}
	}
	e.asked = withLog(p, e.asked)
	return e
}

// startProgram starts a program and waits until ready, which gets its log, returns nil. The end of
// the test stops the program, and shows the end of its log if the test has failed.
func startProgram(
	t testing.TB, program tools.Program, args []string, ready func(log string) error,
) *child.Process {
	t.Helper()
	const readyDeadline, maxShown = 20 * time.Second, 2 << 10
	p := &child.Process{
		Path: program.Path, Args: args, LogFile: filepath.Join(t.TempDir(), "log"),
		Env: append([]string{"PATH=" + os.Getenv("PATH")}, program.Env...),
	}
	if err := p.Start(); err != nil {
		t.Fatalf("starting %s: %v", program.Path, err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if log := p.Log(); t.Failed() {
			t.Logf("the log of %s ends:\n%s", program.Path, log[max(0, len(log)-maxShown):])
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), readyDeadline)
	defer cancel()
	if err := p.Wait(ctx, func(context.Context) error { return ready(p.Log()) }); err != nil {
		t.Fatalf("starting %s: %v", program.Path, err)
	}
	return p
}

// withLog adds the requests in a process's log to those at its realm. The registry writes the line
// when its handler returns, and sends a small answer only after that, so that the line is there
// before the answer is.
func withLog(p *child.Process, realm func() asked) func() asked {
	read := 0
	return func() asked {
		a := realm()
		log := p.Log()
		end := strings.LastIndexByte(log, '\n') + 1
		for _, line := range accessLine.FindAllStringSubmatch(log[read:end], -1) {
			a.add(line[1], line[2], line[3], line[4])
		}
		read = end
		return a
	}
}
