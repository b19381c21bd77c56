// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Addresses in the node's own network.
const (
	name            = "node"
	address         = "10.88.0.1"
	registryAddress = address + ":5000"
	podRange        = "10.89.0.0/16"
	serviceRange    = "10.96.0.0/16"

	apiServerAddress = address + ":6443"
	apiServer        = "https://" + apiServerAddress
	apiServerName    = "kubernetes.default.svc" // in its certificate
)

// users returns the users that have a kubeconfig, with their names, UIDs and groups as in a token
// file.
func users() map[string]string {
	return map[string]string{
		"admin":                   `admin,1,"system:masters"`,
		"kube-controller-manager": "system:kube-controller-manager,2",
		"kube-scheduler":          "system:kube-scheduler,3",
		"kube-proxy":              "system:kube-proxy,4",
		"kubelet":                 "system:node:" + name + `,5,"system:nodes"`,
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: %q, tls-server-name: %q, certificate-authority: %q}}]
users: [{name: user, user: {token: %q}}]
contexts: [{name: node, context: {cluster: node, user: user}}]
current-context: node
`

// kubeconfigFor returns the kubeconfig of a user.
func kubeconfigFor(server, ca, token string) []byte {
	return fmt.Appendf(nil, kubeconfig, server, apiServerName, ca, token)
}

// The node routes packets between pods, and does not bridge them, because a Service's answers must
// come back through the node, also if the kernel can't filter bridges.
const network = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
	"type": "ptp", "ipMasq": false,
	"ipam": {"type": "host-local", "ranges": [[{"subnet": "` + podRange + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
`

// Without restrict_oom_score_adj runc would give a container a lower score than its own, which
// requires CAP_SYS_RESOURCE.
const containerdConfig = `version = 2
root = "$DIR/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
  "io.containerd.internal.v1.opt",
]
[grpc]
  address = "` + containerdSocket + `"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$DEBIAN/usr/lib/cni"
    conf_dir = "$DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$DIR/registries"
`

const hosts = `server = "https://` + registryAddress + `"
[host."https://` + registryAddress + `"]
  capabilities = ["pull", "resolve"]
  ca = "$DIR/ca.crt"
`

// Nothing is evicted or collected, and none of the machine's resources are reserved, because the
// node does not own the machine.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ` + address + `
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://` + containerdSocket + `
podLogsDir: $DIR/pods
volumePluginDir: $DIR/volume-plugins
staticPodPath: ""
resolvConf: ""
readOnlyPort: 0
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
localStorageCapacityIsolation: false
registryPullQPS: 0
serializeImagePulls: false
maxPods: 200
`

// writeFiles writes the configuration of the programs.
func (n *Node) writeFiles(context.Context) error {
	replacer := strings.NewReplacer("$DIR", n.Dir, "$NAME", filepath.Base(n.Dir), "$DEBIAN", n.debian)
	files := map[string][]byte{
		"ca.crt": n.CA.PEM,
		filepath.Join("registries", registryAddress, "hosts.toml"): []byte(replacer.Replace(hosts)),
		"cni/10-pods.conflist": []byte(network),
		"containerd.toml":      []byte(replacer.Replace(containerdConfig)),
		"kubelet.yaml":         []byte(replacer.Replace(kubeletConfig)),
	}
	var tokens bytes.Buffer
	for user, groups := range users() {
		token := rand.Text()
		if user == "admin" {
			n.token = token
		}
		fmt.Fprintf(&tokens, "%s,%s\n", token, groups)
		files[user+".kubeconfig"] = kubeconfigFor(apiServer, n.file("ca.crt"), token)
	}
	files["tokens.csv"] = tokens.Bytes()
	for name, hosts := range map[string][]string{
		"apiserver":        {address, "10.96.0.1", apiServerName},
		"service-accounts": {"service-accounts"}, // its key signs tokens
	} {
		leaf, err := n.CA.IssueFor(hosts...)
		if err != nil {
			return err
		}
		files[name+".crt"], files[name+".key"] = leaf.CertPEM, leaf.KeyPEM
	}
	return n.write(files)
}

func (n *Node) file(name string) string { return filepath.Join(n.Dir, name) }

func (n *Node) write(files map[string][]byte) error {
	var errs []error
	for name, data := range files {
		path := n.file(name)
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600))
	}
	return errors.Join(errs...)
}
