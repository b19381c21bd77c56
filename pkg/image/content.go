// SPDX-License-Identifier: Apache-2.0

package image

import (
	"strings"

	"github.com/tagpin/tagpin/pkg/registry"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// predicateType is the annotation of a layer that is an in-toto statement (moby/buildkit).
	predicateType = "in-toto.io/predicate-type"
	// cosignPredicate and bundlePredicate are those of cosign's attestations.
	cosignPredicate = "predicateType"
	bundlePredicate = "dev.sigstore.bundle.predicateType"
	bundleContent   = "dev.sigstore.bundle.content"
)

// contents are names for the media types of artifacts and of their content.
var contents = map[string]string{
	"application/vnd.dev.cosign.artifact.sig.v1+json":       "cosign signature",
	"application/vnd.dev.cosign.simplesigning.v1+json":      "cosign signature",
	"application/vnd.dev.cosign.artifact.sbom.v1+json":      "cosign SBOM",
	"application/vnd.cncf.notary.signature":                 "Notation signature",
	"application/jose+json":                                 "Notation signature envelope",
	"application/cose":                                      "Notation signature envelope",
	"application/vnd.in-toto+json":                          "in-toto statement",
	"application/vnd.dsse.envelope.v1+json":                 "in-toto attestation",
	"application/spdx+json":                                 "SPDX SBOM",
	"text/spdx":                                             "SPDX SBOM",
	"text/spdx+json":                                        "SPDX SBOM",
	"application/vnd.cyclonedx":                             "CycloneDX SBOM",
	"application/vnd.cyclonedx+json":                        "CycloneDX SBOM",
	"application/vnd.cyclonedx+xml":                         "CycloneDX SBOM",
	"application/vnd.syft+json":                             "Syft SBOM",
	"application/sarif+json":                                "SARIF report",
	"application/vnd.security.vulnerability.report+json":    "vulnerability report",
	"application/vnd.goharbor.harbor.sbom.v1":               "Harbor SBOM",
	"application/vnd.cncf.helm.config.v1+json":              "Helm chart",
	"application/vnd.cncf.helm.chart.content.v1.tar+gzip":   "Helm chart archive",
	"application/vnd.cncf.helm.chart.provenance.v1.prov":    "Helm chart provenance",
	"application/vnd.cncf.flux.config.v1+json":              "Flux artifact",
	"application/vnd.wasm.config.v0+json":                   "WebAssembly module",
	"application/wasm":                                      "WebAssembly module",
	"application/vnd.cncf.model.manifest.v1+json":           "model",
	"application/vnd.docker.attestation.manifest.v1+json":   "attestation",
	"application/vnd.oci.empty.v1+json":                     "empty",
	"application/vnd.docker.plugin.v1+json":                 "Docker plugin",
	"application/vnd.cncf.kubewarden.config.v1+json":        "Kubewarden policy",
	"application/vnd.cncf.openpolicyagent.config.v1+json":   "Open Policy Agent bundle",
	"application/vnd.docker.image.rootfs.foreign.diff.tar":  "",
	"application/vnd.sigstore.cosign.bundle.simple.v1+json": "Sigstore bundle",
}

// content names what a media type and the annotations beside it stand for. It is "" for layers of
// images and for what is unknown.
func content(mediaType string, annotations map[string]string) string {
	name := contents[mediaType]
	if strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle.v") {
		name = "Sigstore bundle"
		if annotations[bundleContent] == "message-signature" {
			name = "Sigstore signature"
		}
	}
	for _, key := range []string{predicateType, bundlePredicate, cosignPredicate} {
		if predicate := annotations[key]; predicate != "" && name != "" {
			return name + " (" + predicate + ")"
		}
	}
	return name
}

// referrer returns one of the referrers of a manifest.
func referrer(d ocispec.Descriptor, list *registry.Referrers) Referrer {
	name := content(d.ArtifactType, d.Annotations)
	if name == "" {
		name = d.ArtifactType
	}
	if name == "" {
		name = "artifact of an unknown type"
	}
	return Referrer{
		Content: name, Descriptor: descriptor(d), ArtifactType: d.ArtifactType,
		Annotations: d.Annotations, Tag: list.Tag,
	}
}

// cosignTags are the endings of the tags under which cosign stores what belongs to an image
// (SIGNATURE_SPEC.md of sigstore/cosign), with what each stands for.
var cosignTags = []struct{ ending, content string }{
	{".sig", "cosign signatures"},
	{".att", "cosign attestations"},
	{".sbom", "cosign SBOM"},
}
