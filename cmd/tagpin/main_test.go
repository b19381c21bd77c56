// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tagpin": main, "kubectl-tagpin": main})
}

// TestScripts runs the scripts testdata/*.txtar. Each script tests one behaviour and has a registry
// of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"requests": requests,
			"mode":     mode,
			"pushrich": pushRich,
			"sha256":   checkHash,
			"corrupt":  corrupt,
			"exits":    exits,
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return os.Getuid() == 0, nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// fixture is a registry. Repositories below private/ need a password. Its API is at /hub/v2/ too.
type fixture struct {
	http.Handler
	manifests atomic.Int64 // number of requests for manifests
	corrupt   sync.Map     // from the digests of what is sent with other bytes
}

func (f *fixture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Path = strings.TrimPrefix(r.URL.Path, "/hub")
	if strings.Contains(r.URL.Path, "/manifests/") {
		f.manifests.Add(1)
		if agent := r.UserAgent(); r.Method == http.MethodHead && !strings.HasPrefix(agent, "tagpin/") {
			http.Error(w, "unexpected User-Agent "+agent, http.StatusTeapot)
			return
		}
	}
	user, password, _ := r.BasicAuth()
	allowed := user == "u" && password == "canary"
	if strings.HasPrefix(r.URL.Path, "/v2/private/") && !allowed {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !f.listManifests(w, r) && !f.sendCorrupt(w, r) {
		f.Handler.ServeHTTP(w, r)
	}
}

func setup(env *testscript.Env) error {
	f := &fixture{Handler: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)),
		ggcr.WithReferrersSupport(true))}
	server := httptest.NewServer(f)
	env.Defer(server.Close)
	env.Values["registry"] = f
	host := strings.TrimPrefix(server.URL, "http://")
	env.Setenv("REGISTRY", host)
	env.Setenv("PORT", host[strings.LastIndex(host, ":")+1:])
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only a request to a proxy has a host in its URL.
		if r.URL.Host != "registry.invalid:5000" {
			http.Error(w, "not a proxy request", http.StatusTeapot)
			return
		}
		f.ServeHTTP(w, r)
	}))
	env.Defer(proxy.Close)
	env.Setenv("PROXY", proxy.URL)
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // the default adds a second to each command
	if err := serveCluster(env); err != nil {
		return err
	}
	return push(env, f, host)
}

// push pushes app:1, lib:2, index:1 and private/app:1 to the registry. It sets the variables $APP,
// $LIB and $INDEX to the digests of the first three. private/app:1 is the same image as app:1. The
// index has manifests for two platforms, whose digests are $ARM64 and $AMD64.
func push(env *testscript.Env, f *fixture, host string) error {
	open := httptest.NewServer(f.Handler) // it needs no password
	defer open.Close()
	to := strings.TrimPrefix(open.URL, "http://")
	app, errApp := newImage("app")
	lib, errLib := newImage("lib")
	if errApp != nil || errLib != nil {
		return fmt.Errorf("%w %w", errApp, errLib)
	}
	var index v1.ImageIndex = empty.Index
	for _, i := range []struct {
		v1.Image
		v1.Platform
	}{
		{lib, v1.Platform{OS: "linux", Architecture: "amd64"}},
		{app, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}},
		{app, v1.Platform{OS: "unknown", Architecture: "unknown"}}, // an attestation
	} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: i.Image, Descriptor: v1.Descriptor{Platform: &i.Platform},
		})
	}
	for text, i := range map[string]v1.Image{"app:1": app, "lib:2": lib, "private/app:1": app} {
		tag, err := name.NewTag(to + "/" + text)
		if err != nil {
			return err
		}
		if err := remote.Write(tag, i); err != nil {
			return err
		}
	}
	if err := pushHostile(to, app); err != nil {
		return err
	}
	tag, err := name.NewTag(to + "/index:1")
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		return err
	}
	for variable, i := range map[string]interface{ Digest() (v1.Hash, error) }{
		"APP": app, "ARM64": app, "LIB": lib, "AMD64": lib, "INDEX": index,
	} {
		d, err := i.Digest()
		if err != nil {
			return err
		}
		env.Setenv(variable, d.String())
	}
	config := fmt.Appendf(nil, "apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"+
		"network: {allow: [127.0.0.0/8]}\nregistries: [{host: %q, insecure: true}]\n", host)
	if err := os.WriteFile(env.WorkDir+"/config.yaml", config, 0o600); err != nil {
		return err
	}
	return expandFiles(env)
}

// expandFiles replaces $REGISTRY and the variables of digests in the files of a script.
func expandFiles(env *testscript.Env) error {
	var pairs []string
	for _, variable := range []string{"REGISTRY", "APP", "LIB", "INDEX", "ARM64", "AMD64", "LOGIN"} {
		pairs = append(pairs, "$"+variable, env.Getenv(variable))
	}
	values := strings.NewReplacer(pairs...)
	return filepath.WalkDir(env.WorkDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(values.Replace(string(data))), 0o600)
	})
}

func newImage(author string) (v1.Image, error) {
	return mutate.ConfigFile(
		empty.Image,
		&v1.ConfigFile{Author: author, RootFS: v1.RootFS{Type: "layers"}},
	)
}

// requests implements the script command "requests N". It fails if the number of requests for
// manifests since its last call is not N.
func requests(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: requests N")
	}
	want, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	if got := ts.Value("registry").(*fixture).manifests.Swap(0); got != want {
		ts.Fatalf("%d requests for manifests, want %d", got, want)
	}
}

// mode implements the script command "mode FILE MODE". It fails if the file has other permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// exits implements the script command "exits CODE COMMAND [ARGUMENT]…". It runs the command, and
// fails if its exit code is another one.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT]…")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("%s exits with %d, want %s", args[1], got, want)
	}
}
