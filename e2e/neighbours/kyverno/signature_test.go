// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// verifySignature is a rule that requires a signature. The verbs take whether Kyverno remembers
// what it has verified, and the public key.
const verifySignature = `verifyImages: [{imageReferences: ["*"], failureAction: Enforce, ` +
	`useCache: %t, mutateDigest: false, verifyDigest: true, required: true, ` +
	`attestors: [{entries: [{keys: {` +
	`publicKeys: %q, rekor: {ignoreTlog: true}, ctlog: {ignoreSCT: true}}}]}]}]`

// signer signs images as cosign does with a key.
type signer struct {
	key *ecdsa.PrivateKey
	s   *space
}

// newSigner makes a key.
func newSigner(s *space) *signer {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return &signer{key, s}
}

// public returns the public key.
func (k *signer) public() string {
	k.s.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&k.key.PublicKey)
	if err != nil {
		k.s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign pushes a signature of a digest in the namespace's repository.
func (k *signer) sign(digest string) {
	k.s.t.Helper()
	repository := k.s.Name + "/app"
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},`+
		`"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},`+
		`"optional":null}`, env.Open.Host+"/"+repository, digest)
	hash := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, hash[:])
	if err != nil {
		k.s.t.Fatal(err)
	}
	image, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer: static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{
			"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature),
		},
	})
	if err != nil {
		k.s.t.Fatal(err)
	}
	tag := repository + ":" + strings.Replace(digest, ":", "-", 1) + ".sig"
	if _, err := env.Open.Push(tag, image); err != nil {
		k.s.t.Fatal(err)
	}
}

// signed creates a namespace with a policy that requires signatures, and a Deployment with a signed
// image, whose tag it then moves to an unsigned one.
func signed(t *testing.T, cache bool) (s *space, k *signer, reference, first, second string) {
	t.Helper()
	s = newSpace(t)
	k = newSigner(s)
	reference, first = s.Push("1")
	s.policy(all, fmt.Sprintf(verifySignature, cache, k.public()))
	s.denies(reference)
	k.sign(first)
	s.Eventually("Kyverno to find the signature", func(ctx context.Context) error {
		_, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", reference))
		return err
	})
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("deployed", reference+"@"+first, 1, 1)
	_, second = s.Push("1")
	if err := s.try(strings.Replace(deploymentManifest(reference), "web", "other", 1)); !denied(err) {
		t.Errorf("a Deployment without a signature: %v, want a denial", err)
	}
	return s, k, reference, first, second
}

// TestSignatures has policies that require signatures of pods and pod templates.
func TestSignatures(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A ClusterPolicy requires signatures by a key, with `mutateDigest: false`. A Deployment with a signed image is applied. Its tag moves to an unsigned image, and another Deployment gets it. The manifest is applied again, with Kyverno's cache of what it has verified, which is the default, and with `useCache: false`: with the rules that Kyverno makes for workloads, and without them. Pods are deleted, the second image is signed, and the Deployment is restarted.",
		Result:   "Kyverno verifies the digest that tagpin has pinned: it denies the other Deployment, even if the tag is in its cache. New pods of the first one run the signed digest. Without the cache and with the rules for workloads, Kyverno denies the apply, because it verifies what the tag names before tagpin puts back the pin. In the other two cases the apply changes nothing. The restart brings the second digest.",
		Settings: "`pod-policies.kyverno.io/autogen-controllers: none`, where a manifest should be applied again although its tag names an unsigned image",
	})
	s, _, reference, first, _ := signed(t, true)
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("applied again with the cache", reference+"@"+first, 1, 1)

	s, k, reference, first, second := signed(t, false)
	s.Kubectl("", "delete", "pods", "--all")
	s.wantDeployed("its pods are new", reference+"@"+first, 1, 1)
	again := deploymentManifest(reference)
	_, _, err := env.RunKubectl(t.Context(), strings.NewReader(again), "-n", s.Name, "apply", "-f", "-")
	if !denied(err) {
		t.Errorf("the same manifest: %v, want a denial", err)
	}
	s.Kubectl("", "annotate", "--overwrite", "clusterpolicy/"+s.Name,
		"pod-policies.kyverno.io/autogen-controllers=none")
	s.Eventually("Kyverno to verify pods only", func(ctx context.Context) error {
		_, _, err := env.RunKubectl(ctx, strings.NewReader(again), "-n", s.Name, "apply", "-f", "-")
		return err
	})
	s.wantDeployed("applied again", reference+"@"+first, 1, 1)
	k.sign(second)
	s.Kubectl("", "rollout", "restart", "deployment/web")
	s.RolledOut("deployment/web")
	s.wantDeployed("restarted", reference+"@"+second, 2, 2)
}
