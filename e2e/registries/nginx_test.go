// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/pki"
)

const (
	nginxProgram = "nginx"
	// startAttempts are more than one: another process may take a free port before nginx does.
	startAttempts = 3
	syncDeadline  = 5 * time.Second
)

// site is what nginx serves at one address.
type site struct {
	leaf     *pki.Leaf // nil: plain
	before   *endpoint // that requests are passed to
	settings string    // of the location
}

// nginx is a running nginx.
type nginx struct {
	*process
	addresses []string // of the sites
	url       string   // of the first
	client    *http.Client
	access    string // file of its access log
	read      int    // of the access log
	syncs     int
}

// startNginx serves sites until the test ends.
func startNginx(t testing.TB, sites ...site) *nginx {
	t.Helper()
	var err error
	for range startAttempts {
		dir := t.TempDir()
		n := &nginx{access: filepath.Join(dir, "access.log"), client: &http.Client{Timeout: syncDeadline, Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // some sites have bad certificates
		}}}
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, n.config(t, sites), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-p", dir, "-e", "stderr", "-c", file}
		n.process, err = start(t, nginxProgram, args, func(*process) error { return n.sync() })
		if err == nil {
			return n
		}
	}
	t.Fatal(err)
	return nil
}

// config finds addresses for the sites, and makes their configuration.
func (n *nginx) config(t testing.TB, sites []site) []byte {
	t.Helper()
	b := []byte("daemon off; master_process off; pid pid; error_log stderr notice;\nevents {}\nhttp {\n")
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		b = fmt.Appendf(b, "%s_temp_path tmp-%s;\n", of, of)
	}
	b = fmt.Appendf(b, "log_format asked '$request_method $request_uri $status $http_user_agent'; access_log access.log asked;\n")
	b = fmt.Appendf(b, "proxy_ssl_trusted_certificate %s; proxy_ssl_verify on; proxy_ssl_name localhost;\n", rootsFile())
	n.addresses = freeAddresses(t, len(sites))
	for i, s := range sites {
		address := n.addresses[i]
		listen, scheme := address, "http"
		if s.leaf != nil {
			certificate, key := writeLeaf(t, s.leaf)
			listen, scheme = fmt.Sprintf("%s ssl; ssl_certificate %s; ssl_certificate_key %s", address, certificate, key), "https"
		}
		if i == 0 {
			n.url = scheme + "://" + address
		}
		b = fmt.Appendf(b, "server { listen %s; location = /sync { return 204; }\n", listen)
		b = fmt.Appendf(b, "location / { proxy_pass %s; proxy_set_header Host $http_host; %s }\n}\n", s.before.url(), s.settings)
	}
	return append(b, "}\n"...)
}

// sync waits until nginx has logged what it answered before. It writes a request's line when all of the answer is sent,
// which the client may see sooner; as it does one thing at a time, that is before it answers the next request.
func (n *nginx) sync() error {
	n.syncs++
	path := fmt.Sprintf("/sync?%d", n.syncs)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, n.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	for begin := time.Now(); time.Since(begin) < syncDeadline; time.Sleep(pollInterval) {
		if log, err := os.ReadFile(n.access); err == nil && strings.Contains(string(log), "GET "+path+" ") {
			return nil
		}
	}
	return errors.New("it does not log")
}

// asked reads what was logged since the last time.
func (n *nginx) asked(t testing.TB) asked {
	t.Helper()
	if err := n.sync(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(n.access)
	if err != nil {
		t.Fatal(err)
	}
	var a asked
	for line := range strings.Lines(string(log[n.read:])) {
		method, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		path, rest, _ := strings.Cut(rest, " ")
		status, agent, _ := strings.Cut(rest, " ")
		a.add(method, path, status, agent)
	}
	n.read = len(log)
	return a
}
