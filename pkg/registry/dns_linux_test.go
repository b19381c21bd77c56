// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// searchList names the variable that tells the test's own child process to run, and where its
// resolv.conf and hosts files are.
const searchList = "TAGPIN_TEST_SEARCH_LIST"

// TestSearchList resolves names under a pod's resolv.conf, with a DNS server in which a Service has
// taken the name that the search list makes of registry.internal. It runs itself in a mount
// namespace of its own, where it can replace /etc/resolv.conf.
func TestSearchList(t *testing.T) {
	if dir := os.Getenv(searchList); dir != "" {
		resolveInPod(t, dir)
		return
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"resolv.conf": "nameserver 192.0.2.53\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
		"hosts":       "127.0.0.1 localhost alias.internal\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestSearchList$", "-test.v") //nolint:gosec // this test itself
	child.Env = append(os.Environ(), searchList+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := child.CombinedOutput()
	switch {
	case child.ProcessState == nil:
		t.Skipf("this machine gives no mount namespace: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil:
		t.Errorf("in a pod: %v\n%s", err, out)
	}
}

// resolveInPod runs in the mount namespace.
func resolveInPod(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"resolv.conf", "hosts"} {
		err := syscall.Mount(filepath.Join(dir, name), "/etc/"+name, "", syscall.MS_BIND, "")
		if err != nil {
			t.Skipf("this machine mounts no file over /etc/%s: %v", name, err)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	}))
	defer s.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	names := map[string][]string{
		"registry.internal":                    {"127.0.0.1"},
		"registry.internal.svc.cluster.local":  {"127.0.0.66"}, // a tenant's Service
		"plain.default.svc.cluster.local":      {"127.0.0.1"},
		"other.internal.svc.cluster.local":     {"127.0.0.66"},
		"registry.tools.svc.cluster.local":     {"127.0.0.1"},
		"registry.tools.svc.svc.cluster.local": {"127.0.0.66"},
	}
	for host, wantError := range map[string]bool{
		"registry.internal":                false,
		"other.internal":                   true, // which DNS doesn't have
		"plain":                            false,
		"registry.tools.svc.cluster.local": false,
		"alias.internal":                   false, // of the hosts file, as hostAliases of a pod are
		"localhost":                        false,
	} {
		c := plainClient(t, names, host+":"+port)
		err := head(t.Context(), c, host+":"+port+"/a:1")
		if (err != nil) != wantError {
			t.Errorf("Head of %s = %v, want an error: %t", host, err, wantError)
		}
	}
}
