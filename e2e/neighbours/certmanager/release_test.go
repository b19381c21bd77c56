// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/forward"
	"github.com/tagpin/tagpin/e2e/neighbours"
	"github.com/tagpin/tagpin/e2e/tools"
)

const (
	namespace  = "tagpin-system"
	secretName = "tagpin-webhook-cert-manager"
	caSecret   = "tagpin-ca"
	image      = "ghcr.io/tagpin/tagpin-webhook:e2e"
)

// release is an installation of tagpin's chart. Its two replicas are processes on this machine, and
// the test plays the kubelet and kube-proxy for them.
type release struct {
	*neighbours.Space // whose pods are pinned

	t         *testing.T
	dir       string // of files that the replicas read
	service   *forward.Forward
	manifest  string
	reference string // of an image

	mu      sync.Mutex
	started []*cluster.Tagpin
}

// values are the values of the chart. The verbs take the registry and the path of its CA.
const values = `
image: {tag: e2e}
certificates: {mode: cert-manager}
pullSecretAccess: none
replicas: 0
config:
  network: {allow: [127.0.0.0/8]}
  registries: [{host: %q, caFile: %q}]
`

// install installs the chart with more values. When it returns, the registration has the CA of the
// secret. No replica runs yet.
func install(t *testing.T, set ...string) *release {
	t.Helper()
	r := &release{Space: env.NewSpace(t), t: t, dir: t.TempDir()}
	r.reference, _ = r.Push("1")
	r.write("ca.crt", env.CA.PEM)
	r.write("values.yaml", fmt.Appendf(nil, values, env.Open.Host, filepath.Join(r.dir, "ca.crt")))
	service, err := forward.Start(t.Context(), r.dial)
	if err != nil {
		t.Fatal(err)
	}
	r.service = service
	t.Cleanup(r.remove)
	r.apply(set...)
	r.Eventually("the CA of the secret in the registration", func(ctx context.Context) error {
		secret, err := readSecret(ctx, secretName)
		if err != nil {
			return err
		}
		bundle, err := caBundle(ctx)
		if err == nil && (len(bundle) == 0 || !bytes.Equal(bundle, secret.Data["ca.crt"])) {
			err = fmt.Errorf("the registration has the CA %q, want %q", bundle, secret.Data["ca.crt"])
		}
		return err
	})
	return r
}

// apply renders the chart with Helm and applies it as Helm 4 does. The Service leads to this
// machine's loopback address, where the test passes connections to the replicas.
func (r *release) apply(set ...string) {
	r.t.Helper()
	module, err := tools.Module(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	args := []string{
		"template", "tagpin", filepath.Join(filepath.Dir(module), "deploy", "chart"),
		"--namespace=" + namespace, "--values=" + filepath.Join(r.dir, "values.yaml"),
	}
	for _, s := range set {
		args = append(args, "--set="+s)
	}
	cmd := exec.CommandContext(r.t.Context(), helm, args...)
	cmd.Env = append(os.Environ(),
		"HELM_CACHE_HOME="+r.dir, "HELM_CONFIG_HOME="+r.dir, "HELM_DATA_HOME="+r.dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("helm template: %v\n%s", err, stderr.String())
	}
	_, port, _ := net.SplitHostPort(r.service.Address) // can't fail
	const target = "name: tagpin-webhook, "
	r.manifest = strings.ReplaceAll(string(out), target, target+"port: "+port+", ")
	if !strings.Contains(r.manifest, port) {
		r.t.Fatal("the registration names no Service")
	}
	r.kubectl(r.manifest, "apply",
		"--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-")
	r.kubectl("", "patch", "service", "tagpin-webhook", "--type=merge",
		`--patch={"spec":{"type":"ExternalName","externalName":"localhost"}}`)
	config := r.kubectl("", "get", "configmap", "tagpin-webhook",
		"-o", `jsonpath={.data.config\.yaml}`)
	r.write("config.yaml", []byte(config))
}

// kubectl runs kubectl in tagpin's namespace.
func (r *release) kubectl(stdin string, args ...string) string {
	r.t.Helper()
	return clustertest.Kubectl(r.t, env, stdin, append([]string{"-n", namespace}, args...)...)
}

// write replaces a file that the replicas read.
func (r *release) write(name string, content []byte) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	err := errors.Join(os.WriteFile(path+".new", content, 0o600), os.Rename(path+".new", path))
	if err != nil {
		r.t.Fatal(err)
	}
}

// replicas returns the replicas that were started.
func (r *release) replicas() []*cluster.Tagpin {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.started)
}

// uninstall deletes what the chart has created. cert-manager's secrets stay.
func (r *release) uninstall(ctx context.Context) error {
	if r.manifest == "" {
		return nil
	}
	_, _, err := env.RunKubectl(ctx, strings.NewReader(r.manifest),
		"delete", "--ignore-not-found", "-f", "-")
	return err
}

// remove ends the replicas and deletes everything that the test has installed.
func (r *release) remove() {
	ctx := context.WithoutCancel(r.t.Context())
	err := r.uninstall(ctx)
	_, _, e := env.RunKubectl(ctx, nil, "delete", "--ignore-not-found", "-n", namespace,
		"secret", secretName, caSecret) // last, since cert-manager would make them again
	err = errors.Join(err, e)
	for _, replica := range r.replicas() {
		if r.t.Failed() {
			r.t.Logf("== %s\n%s", replica.LogFile, replica.Log())
		}
		err = errors.Join(err, replica.Kill())
	}
	r.service.Stop()
	if err != nil {
		r.t.Error(err)
	}
}

// serve mounts the secret and starts two replicas. It returns when pods are pinned.
func (r *release) serve() {
	r.t.Helper()
	r.mount()
	r.t.Setenv("TAGPIN_IMAGE", image)
	for i := range 2 {
		replica, err := env.StartReplica(r.t.Context(), cluster.Replica{
			Name: fmt.Sprint(r.Name, "-", i), Namespace: namespace, ServiceAccount: "tagpin-webhook",
			Config: filepath.Join(r.dir, "config.yaml"), CertDir: r.mounted(),
		})
		if err != nil {
			r.t.Fatal(err)
		}
		r.mu.Lock()
		r.started = append(r.started, replica)
		r.mu.Unlock()
	}
	r.Eventually("pinned pods", r.pinned)
}

// mounted returns the path of the mounted secret.
func (r *release) mounted() string { return filepath.Join(r.dir, "certs") }

// mount mounts the secret as the kubelet does: all of its files change at once.
func (r *release) mount() {
	r.t.Helper()
	secret, err := readSecret(r.t.Context(), secretName)
	if err != nil {
		r.t.Fatal(err)
	}
	version := "secret-" + secret.ResourceVersion
	if err := os.Mkdir(filepath.Join(r.dir, version), 0o700); err != nil {
		r.t.Fatal(err)
	}
	for name, content := range secret.Data {
		r.write(filepath.Join(version, name), content)
	}
	link := filepath.Join(r.dir, "link")
	if err := errors.Join(os.Symlink(version, link), os.Rename(link, r.mounted())); err != nil {
		r.t.Fatal(err)
	}
}

// dial connects to a replica that is ready, as kube-proxy does.
func (r *release) dial(ctx context.Context) (net.Conn, error) {
	for _, replica := range r.replicas() {
		if replica.Ready(ctx) == nil {
			return new(net.Dialer).DialContext(ctx, "tcp", replica.Address())
		}
	}
	return nil, errors.New("no replica is ready")
}

var errUnpinned = errors.New("it is not pinned")

// pinned creates a pod as a dry run, and returns an error if it is not pinned.
func (r *release) pinned(ctx context.Context) error {
	pod, err := clustertest.DryRun(ctx, env.Client, r.Name, clustertest.Pod("app", r.reference))
	if err != nil {
		return err
	}
	if got := pod.Spec.Containers[0].Image; !strings.HasPrefix(got, r.reference+"@sha256:") {
		return fmt.Errorf("image %s: %w", got, errUnpinned)
	}
	return nil
}

// renew makes cert-manager renew a certificate, as cmctl renew does, and waits until its secret has
// the new one.
func (r *release) renew(certificate, secret string) {
	r.t.Helper()
	r.Eventually("the end of the former renewal", func(context.Context) error {
		got := r.kubectl("", "get", "certificate", certificate, "-o", "jsonpath={.status.conditions[*].type}")
		if got != "Ready" {
			return fmt.Errorf("%s has the conditions %q", certificate, got)
		}
		return nil
	})
	former, err := readSecret(r.t.Context(), secret)
	if err != nil {
		r.t.Fatal(err)
	}
	r.kubectl("", "patch", "certificate", certificate, "--subresource=status", "--type=json",
		`--patch=[{"op":"add","path":"/status/conditions/-","value":{"type":"Issuing","status":"True",`+
			`"reason":"ManuallyTriggered","message":"renewed by a test"}}]`)
	r.Eventually("a new certificate of "+certificate, func(ctx context.Context) error {
		now, err := readSecret(ctx, secret)
		if err == nil && bytes.Equal(now.Data["tls.crt"], former.Data["tls.crt"]) {
			err = errors.New("the secret has the former one")
		}
		return err
	})
}

// wantServed waits until all replicas serve the certificate of the secret.
func (r *release) wantServed() {
	r.t.Helper()
	secret, err := readSecret(r.t.Context(), secretName)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Eventually("the certificate of the secret", func(ctx context.Context) error {
		for _, replica := range r.replicas() {
			got, err := handshake(ctx, replica.Address(), secret.Data["ca.crt"])
			if err != nil {
				return err
			}
			if block, _ := pem.Decode(secret.Data["tls.crt"]); !bytes.Equal(got.Raw, block.Bytes) {
				return fmt.Errorf("%s serves the certificate %x", replica.Address(), got.SerialNumber)
			}
		}
		return nil
	})
}

func readSecret(ctx context.Context, name string) (*corev1.Secret, error) {
	return env.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func registration(
	ctx context.Context,
) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	api := env.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	return api.Get(ctx, cluster.ConfigurationName, metav1.GetOptions{})
}

// caBundle returns the CA in the registration, or an error if its webhooks have different ones.
func caBundle(ctx context.Context) ([]byte, error) {
	live, err := registration(ctx)
	if err != nil {
		return nil, err
	}
	bundle := live.Webhooks[0].ClientConfig.CABundle
	for _, w := range live.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, bundle) {
			return nil, errors.New("the webhooks have different CAs")
		}
	}
	return bundle, nil
}
