// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const dockerRegistry = "docker-registry"

var (
	listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
	// accessLine is Apache's combined log format.
	accessLine = regexp.MustCompile(`"(\S+) (\S+) HTTP/\S+" (\d+) \d+ "[^"]*" "([^"]*)"`)
)

// debian is Debian's docker-registry, over a folder. Each endpoint is a process of its own.
type debian struct{ dir string }

func newDebian(t testing.TB) store { return &debian{t.TempDir()} }

// open starts a process. Its realm, if any, is on another host, as Docker Hub's is.
func (d *debian) open(t testing.TB, a access) *endpoint {
	t.Helper()
	e := &endpoint{access: a, asked: func() asked { return asked{} }}
	var auth map[string]any
	realmHost := ""
	if a == bearer {
		e.realm = newRealm(t)
		r := &recorder{handler: e.realm}
		realmHost = newServer(t, secure, r).Listener.Addr().String()
		e.asked = r.take
		auth = e.realm.Parameters("https://"+realmHost+"/token", rootsFile())
	}
	http := map[string]any{"addr": "127.0.0.1:0"}
	if a != plain {
		certificate, key := writeLeaf(t, newLeaf(t))
		http["tls"] = map[string]any{"certificate": certificate, "key": key}
	}
	file := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(file, config(t, d.dir, a, auth, http), 0o600); err != nil {
		t.Fatal(err)
	}
	address := ""
	p, err := start(t, dockerRegistry, []string{"serve", file}, func(p *process) error {
		found := listening.FindStringSubmatch(p.log())
		if found == nil {
			return errors.New("it does not listen")
		}
		address = found[1]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e.host, e.kill = newHost(address, a), p.kill
	if realmHost != "" {
		e.host.AuthHosts = []string{realmHost}
	}
	e.asked = withLog(p, e.asked)
	return e
}

// withLog adds what a process has logged to what its realm was asked. The line is there before the answer is: the
// registry writes it when its handler returns, and then sends what is small.
func withLog(p *process, realm func() asked) func() asked {
	read := 0
	return func() asked {
		a := realm()
		log := p.log()
		end := strings.LastIndexByte(log, '\n') + 1
		for _, line := range accessLine.FindAllStringSubmatch(log[read:end], -1) {
			a.add(line[1], line[2], line[3], line[4])
		}
		read = end
		return a
	}
}
