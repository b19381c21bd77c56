// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/hack/standalone"
)

// stage is a running registry with images and a running tagpin-webhook.
type stage struct {
	registry string // host:port
	webhook  *standalone.Server
	digests  map[string]string // by repository:tag
	client   *http.Client      // trusts the certificate of the registry and the webhook
	close    func()            // stops both
}

// newStage starts the registry and tagpin-webhook. standalone.Build must have built it in dir.
func newStage(ctx context.Context, dir string) (*stage, error) {
	serverTLS, clientTLS, err := standalone.Certificate(dir)
	if err != nil {
		return nil, err
	}
	images := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	images.TLS = serverTLS
	images.StartTLS()
	st := &stage{
		registry: strings.TrimPrefix(images.URL, "https://"),
		digests:  map[string]string{},
		client: &http.Client{
			Transport: &http.Transport{TLSClientConfig: clientTLS}, Timeout: 10 * time.Second,
		},
		close: images.Close,
	}
	for _, image := range []string{"shop/web:1.4", "shop/proxy:latest", "shop/report:nightly"} {
		if err := st.push(ctx, image); err != nil {
			st.close()
			return nil, err
		}
	}
	text := fmt.Appendf(nil, config, st.registry, filepath.Join(dir, "tls.crt"))
	if st.webhook, err = standalone.StartWebhook(ctx, st.client, dir, "webhook", text); err != nil {
		st.close()
		return nil, err
	}
	st.close = func() { st.webhook.Stop(); images.Close() }
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
	url := "https://" + st.webhook.Address + "/" + mode + "?timeout=10s"
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
