// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"encoding/base64"
	"fmt"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Names that deploy/kustomize gives.
const (
	// TagpinNamespace is where tagpin runs.
	TagpinNamespace = "tagpin-system"
	// ModeLabel is the label of a namespace that switches tagpin on.
	ModeLabel = "tagpin.dev/mode"
)

const tagpinImage = "tagpin/tagpin-webhook"

// overlay is what deploy/README.md tells to write: an image, a certificate, settings.
const overlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%q]
images: [{name: ghcr.io/tagpin/tagpin-webhook, newName: %s, digest: %q}]
generatorOptions: {disableNameSuffixHash: true}
secretGenerator:
- {name: tagpin-webhook-tls, namespace: tagpin-system, type: kubernetes.io/tls, files: [tls.crt, tls.key]}
configMapGenerator:
- {name: tagpin-webhook, namespace: tagpin-system, behavior: replace, files: [config.yaml, ca.crt]}
patches:
- target: {kind: MutatingWebhookConfiguration}
  patch: |-
    - {op: add, path: /webhooks/0/clientConfig/caBundle, value: %[4]s}
    - {op: add, path: /webhooks/1/clientConfig/caBundle, value: %[4]s}
    - {op: add, path: /webhooks/2/clientConfig/caBundle, value: %[4]s}
`

const tagpinConfig = `apiVersion: tagpin.dev/v1alpha1
kind: Config
certificates: {mode: mounted}
registries: [{host: %q, caFile: /etc/tagpin/ca.crt}]
`

// InstallTagpin builds tagpin's image, pushes it and installs tagpin as pods, as deploy/README.md says. It returns when
// all of them are ready.
func (n *Node) InstallTagpin(ctx context.Context) error {
	n.say("building and installing tagpin")
	image, err := n.tagpinImage(ctx)
	if err != nil {
		return err
	}
	digest, err := n.Registry.Push(tagpinImage+":e2e", image)
	if err != nil {
		return err
	}
	leaf, err := n.CA.IssueFor("tagpin-webhook." + TagpinNamespace + ".svc")
	if err != nil {
		return err
	}
	const dir = "tagpin"
	resources, err := filepath.Rel(n.file(dir), filepath.Join(n.root, "deploy", "kustomize"))
	if err != nil {
		return err
	}
	if err := n.write(map[string][]byte{
		dir + "/kustomization.yaml": fmt.Appendf(nil, overlay, resources, path.Join(n.Registry.Host, tagpinImage), digest,
			base64.StdEncoding.EncodeToString(n.CA.PEM)),
		dir + "/config.yaml": fmt.Appendf(nil, tagpinConfig, n.Registry.Host),
		dir + "/ca.crt":      n.CA.PEM, dir + "/tls.crt": leaf.CertPEM, dir + "/tls.key": leaf.KeyPEM,
	}); err != nil {
		return err
	}
	if _, _, err := n.RunKubectl(ctx, nil, "apply", "--kustomize="+n.file(dir)); err != nil {
		return err
	}
	_, _, err = n.RunKubectl(ctx, nil, "--namespace="+TagpinNamespace, "rollout", "status", "deployment/tagpin-webhook", "--timeout="+startDeadline.String())
	return err
}

// tagpinImage is tagpin's own image, with what the Dockerfile puts there.
func (n *Node) tagpinImage(ctx context.Context) (v1.Image, error) {
	files := map[string][]byte{}
	for _, name := range []string{"tagpin", "tagpin-webhook"} {
		binary, err := n.build(ctx, n.root, "./cmd/"+name)
		if err != nil {
			return nil, err
		}
		files["usr/local/bin/"+name] = binary
	}
	return newImage("/usr/local/bin/tagpin-webhook", nobody, files)
}
