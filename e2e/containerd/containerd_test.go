// SPDX-License-Identifier: Apache-2.0

//go:build linux

package containerd

import (
	"cmp"
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/scratch"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

const (
	startDeadline = time.Minute
	// pullDeadline bounds one pull. containerd has no time limit for most waits.
	pullDeadline = 15 * time.Second
)

// converted stands for the digest of an image that containerd has converted, which has none.
const converted digest.Digest = "converted"

const config = `version = 2
root = "$DIR/root"
state = "$DIR/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.overlayfs", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "$DIR/containerd.sock"
[ttrpc]
  address = "$DIR/ttrpc.sock"
[plugins."io.containerd.grpc.v1.cri"]
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$DIR/cni"
    conf_dir = "$DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$DIR/registries"
`

// containerd is a running containerd without images.
type containerd struct{ images runtime.ImageServiceClient }

// start starts containerd with the settings of some registries. The end of the test stops it.
func start(t *testing.T, w *registrytest.World, hosts []registry.Host) *containerd {
	t.Helper()
	dir, err := scratch.New(prefix) // a short name, for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Remove(); err != nil {
			t.Error(err)
		}
	})
	writeFiles(t, dir.Path, w, hosts)
	run(t, dir.Path)
	conn, err := grpc.NewClient("unix://"+dir.Path+"/containerd.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &containerd{images: runtime.NewImageServiceClient(conn)}
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	defer cancel()
	_, err = c.images.ListImages(ctx, &runtime.ListImagesRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("containerd is not ready: %v", err)
	}
	return c
}

// run starts the process in a mount namespace of its own, because it mounts what it unpacks.
func run(t *testing.T, dir string) {
	t.Helper()
	var output strings.Builder
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), env.program.Path, "--config="+dir+"/containerd.toml")
	// The proxy does not exist, so that nothing leaves this machine.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=http://127.0.0.1:1"}, env.program.Env...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS}
	ended, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("containerd wrote:\n%s", output.String())
		}
	})
}

// writeFiles writes containerd's config and a hosts.toml for each registry.
func writeFiles(t *testing.T, dir string, w *registrytest.World, hosts []registry.Host) {
	t.Helper()
	ca := filepath.Join(dir, "ca.crt")
	files := map[string]string{
		filepath.Join(dir, "containerd.toml"): strings.ReplaceAll(config, "$DIR", dir),
		ca:                                    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})),
	}
	for _, h := range hosts {
		files[filepath.Join(dir, "registries", h.Name, "hosts.toml")] = hostsFile(h, ca)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// hostsFile returns a registry's settings in the words of containerd.
func hostsFile(h registry.Host, ca string) string {
	var text strings.Builder
	// containerd 1.6 wants the table host, even if it is empty.
	fmt.Fprintf(&text, "server = %q\nca = %q\n[host]\n", "https://"+h.Name, ca)
	for _, m := range h.Mirrors {
		capabilities := `"pull"`
		if m.Resolve {
			capabilities += `, "resolve"`
		}
		fmt.Fprintf(&text, "[host.%q]\n  capabilities = [%s]\n  ca = %q\n", "https://"+m.Host, capabilities, ca)
	}
	return text.String()
}

// pull pulls an image as the kubelet does: with each credential until one is accepted, or without
// one if there is none. It returns the digest of what was pulled, or the first error.
func (c *containerd) pull(
	t *testing.T, image string, credentials []keychain.Credential,
) (digest.Digest, error) {
	t.Helper()
	if len(credentials) == 0 {
		return c.pullWith(t, image, keychain.Credential{})
	}
	var first error
	for _, credential := range credentials {
		d, err := c.pullWith(t, image, credential)
		if err == nil {
			return d, nil
		}
		first = cmp.Or(first, err)
	}
	return "", first
}

func (c *containerd) pullWith(
	t *testing.T, image string, credential keychain.Credential,
) (digest.Digest, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pullDeadline)
	defer cancel()
	a, spec := credential.Auth, &runtime.ImageSpec{Image: image}
	_, err := c.images.PullImage(ctx, &runtime.PullImageRequest{
		Image: spec,
		Auth: &runtime.AuthConfig{
			Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken,
		},
	})
	if err != nil {
		return "", err
	}
	found, err := c.images.ImageStatus(ctx, &runtime.ImageStatusRequest{Image: spec})
	if err != nil {
		return "", err
	}
	for _, name := range found.GetImage().GetRepoDigests() {
		_, d, _ := strings.Cut(name, "@")
		return digest.Digest(d), nil
	}
	return converted, nil
}
