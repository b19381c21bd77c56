// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	admissionv1 "k8s.io/api/admission/v1"
)

// stage is a running registry with images and a running tagpin-webhook.
type stage struct {
	registry, webhook string            // host:port
	probes            string            // host:port of the webhook's health probes
	digests           map[string]string // by repository:tag
	client            *http.Client      // trusts the certificates of the registry and the webhook
	tls               *tls.Config
	close             func() // stops both
	log               string // path of the webhook's log
}

func newStage(ctx context.Context, dir string) (*stage, error) {
	cert, pool, err := newCertificate(dir)
	if err != nil {
		return nil, err
	}
	st := &stage{
		digests: map[string]string{},
		tls:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		log:     filepath.Join(dir, "webhook.log"),
	}
	st.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: st.tls},
		Timeout:   10 * time.Second,
	}
	images := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	images.TLS = &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
	}
	images.StartTLS()
	st.close = images.Close
	st.registry = strings.TrimPrefix(images.URL, "https://")
	for _, image := range []string{"shop/web:1.4", "shop/proxy:latest", "shop/report:nightly"} {
		if err := st.push(ctx, image); err != nil {
			st.close()
			return nil, err
		}
	}
	end, err := st.serve(ctx, dir)
	if err != nil {
		st.close()
		return nil, err
	}
	st.close = func() { end(); images.Close() }
	return st, nil
}

// push pushes a random image and records its digest. image is repository:tag. If the tag exists, it
// is moved to the new image.
func (st *stage) push(ctx context.Context, image string) error {
	tag, err := name.NewTag(st.registry + "/" + image)
	if err != nil {
		return err
	}
	img, err := random.Image(256, 1)
	if err != nil {
		return err
	}
	err = remote.Write(tag, img, remote.WithContext(ctx), remote.WithTransport(st.client.Transport))
	if err != nil {
		return fmt.Errorf("pushing %s: %w", image, err)
	}
	d, err := img.Digest()
	st.digests[image] = d.String()
	return err
}

// image returns a reference to an image of the registry, given as repository:tag.
func (st *stage) image(image string) string { return st.registry + "/" + image }

// pin returns the pinned reference that is expected for an image.
func (st *stage) pin(image string) string { return st.image(image) + "@" + st.digests[image] }

const config = `apiVersion: tagpin.dev/v1alpha1
kind: Config
registries:
- host: %q
  caFile: %q
network: {allow: ["127.0.0.0/8"]} # the demo's registry is on this machine
certificates: {mode: mounted}
`

// buildWebhook builds tagpin-webhook into dir.
func buildWebhook(ctx context.Context, dir string, progress io.Writer) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", binary(dir), "./cmd/tagpin-webhook")
	build.Stderr = progress
	if err := build.Run(); err != nil {
		return fmt.Errorf("building tagpin-webhook, from the root of the repository: %w", err)
	}
	return nil
}

func binary(dir string) string { return filepath.Join(dir, "tagpin-webhook") }

// serve starts tagpin-webhook and waits until it is ready. buildWebhook must have built it in dir.
func (st *stage) serve(ctx context.Context, dir string) (end func(), err error) {
	file := filepath.Join(dir, "config.yaml")
	text := fmt.Appendf(nil, config, st.registry, filepath.Join(dir, "tls.crt"))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	st.webhook, st.probes = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	out, err := os.Create(st.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()  // the process has its own copy
	server := exec.Command(binary(dir), //nolint:noctx // end stops it
		"--standalone", "--config", file, "--cert-dir", dir,
		"--webhook-host", "127.0.0.1", "--webhook-port", ports[0],
		"--health-probe-bind-address", st.probes, "--metrics-bind-address", "0")
	server.Stdout, server.Stderr = out, out
	if err := server.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { _ = server.Wait(); close(exited) }()
	// There are no requests left, so the process need not shut down gracefully.
	end = func() { _ = server.Process.Signal(syscall.SIGKILL); <-exited }
	if err := st.ready(ctx, exited); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// ready waits until tagpin-webhook is ready. It returns an error if the process exits before.
func (st *stage) ready(ctx context.Context, exited <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+st.probes+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := st.client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-exited:
			output, _ := os.ReadFile(st.log)
			return fmt.Errorf("tagpin-webhook exited:\n%s", output)
		case <-ctx.Done():
			return errors.New("tagpin-webhook did not become ready")
		}
	}
}

// freePorts returns n ports that are not in use.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// admit sends an AdmissionReview to tagpin-webhook and returns the object with the patch of the
// response. The operation is CREATE, or UPDATE if old is not nil.
func (st *stage) admit(ctx context.Context, mode string, o, old object) (object, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(review(o, old))
	if err != nil {
		return nil, err
	}
	url := "https://" + st.webhook + "/" + mode + "?timeout=10s"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := st.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var reply admissionv1.AdmissionReview
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		return nil, fmt.Errorf("status %s: %w", resp.Status, err)
	}
	if !reply.Response.Allowed {
		return nil, fmt.Errorf("denied: %s", reply.Response.Result.Message)
	}
	return apply(raw, reply.Response.Patch)
}

func review(o, old object) map[string]any {
	apiVersion, _ := o["apiVersion"].(string)
	group, version, ok := strings.Cut(apiVersion, "/")
	if !ok {
		group, version = "", apiVersion
	}
	request := map[string]any{
		"uid": "5f2b1c9e-demo", "operation": "CREATE", "namespace": "shop", "name": "shop",
		"object": o, "oldObject": nil,
		"kind":     map[string]any{"group": group, "version": version, "kind": o["kind"]},
		"userInfo": map[string]any{"username": "jane"},
	}
	if old != nil {
		request["operation"], request["oldObject"] = "UPDATE", old
	}
	return map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
	}
}

func apply(raw, patch []byte) (object, error) {
	if patch != nil {
		p, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			return nil, err
		}
		if raw, err = p.Apply(raw); err != nil {
			return nil, err
		}
	}
	var o object
	err := json.Unmarshal(raw, &o)
	return o, err
}
