// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

const (
	// MaxManifest bounds a manifest. The distribution specification asks registries to accept
	// manifests of this size.
	MaxManifest = 4 << 20
	// maxMediaType bounds a media type: two names of 127 characters (RFC 6838, section 4.2), and as
	// much for parameters.
	maxMediaType = 512
)

// accept has all types of indexes and manifests but schema 1. With fewer types, a tag would have
// several digests, because some registries then convert the manifest or choose a platform
// (docker-registry 2.8).
//
// It is one line, because some registries read only the first (docker-image-resource#41).
var accept = []string{strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList),
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}, ",")}

// Supported reports whether a media type is that of an index or a manifest that is asked for: any
// but schema 1.
func Supported(mediaType string) bool {
	m := types.MediaType(mediaType)
	return m.IsIndex() || m.IsImage() && !m.IsSchema1()
}

// Manifest is a manifest or an index.
type Manifest struct {
	MediaType string // the Content-Type without parameters
	Body      []byte // at most MaxManifest; nil after a HEAD

	digests   []string      // every Docker-Content-Digest header
	resolved  digest.Digest // by a whole lookup at another registry
	remaining int           // the pulls that the registry still allows; -1 if it does not say
	release   func()        // nil if Body takes no room
}

// ReferenceType is the annotation by which IsAttestation recognizes an attestation in an index.
const ReferenceType = "vnd.docker.reference.type"

// IsAttestation reports whether a manifest in an index is an attestation: it is about another
// manifest of the index, and runs on no platform. BuildKit gives it the unknown OS and an
// annotation (docs/attestations of moby/buildkit). Tools that copy an index may drop the
// annotation. os and referenceType are those of the descriptor, or empty.
func IsAttestation(os, referenceType string) bool {
	return os == "unknown" || referenceType == "attestation-manifest"
}

// Release drops Body and gives back its room in Client.Manifests.
func (m *Manifest) Release() {
	m.Body = nil
	if m.release != nil {
		m.release()
		m.release = nil
	}
}

// IsIndex reports whether it is an index or manifest list, and not an image's manifest.
func (m *Manifest) IsIndex() bool { return types.MediaType(m.MediaType).IsIndex() }

// newManifest returns the manifest of an answer, without its body.
func newManifest(h http.Header) *Manifest {
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return &Manifest{
		MediaType: strings.TrimSpace(mediaType), digests: h.Values("Docker-Content-Digest"),
		remaining: remainingPulls(h),
	}
}

// remainingPulls reads a number of pulls, such as 76;w=21600 (docs.docker.com: Docker Hub's rate
// limit of pulls). It is -1 if the header has none.
func remainingPulls(h http.Header) int {
	text, _, _ := strings.Cut(h.Get("RateLimit-Remaining"), ";")
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// digest returns the sha256 digest of the header. It is empty if there is none or it is malformed:
// then only the bytes count.
func (m *Manifest) digest() digest.Digest {
	if len(m.digests) != 1 {
		return ""
	}
	d := digest.Digest(m.digests[0])
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return ""
	}
	return d
}

var errSchema1 = errors.New("the tag is a Docker schema 1 manifest, which no current runtime pulls")

// check checks that the body is a manifest or an index, and agrees with the media type, the digest
// of the header and the digest that was asked for, if there is one.
func (m *Manifest) check(want digest.Digest) error {
	switch {
	case types.MediaType(m.MediaType).IsSchema1():
		return errSchema1
	case !Supported(m.MediaType):
		return errors.New("the answer is no manifest but of another content type")
	}
	if err := m.checkBody(); err != nil {
		return err
	}
	switch d := m.digest(); {
	case d != "" && d != digest.SHA256.FromBytes(m.Body):
		return errors.New("the manifest's bytes have another digest than its header says")
	case want != "" && want != want.Algorithm().FromBytes(m.Body):
		return errors.New("the manifest's bytes have another digest than the one asked for")
	}
	return nil
}

// checkBody checks that the body is what the media type says, and not an index and an image at the
// same time (CVE-2021-41190).
func (m *Manifest) checkBody() error {
	var body struct {
		SchemaVersion int       `json:"schemaVersion"`
		MediaType     shortText `json:"mediaType"`
		Manifests     present   `json:"manifests"`
		Config        present   `json:"config"`
		Layers        present   `json:"layers"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return errors.New("the manifest is no JSON") // err may quote it
	}
	switch {
	case body.SchemaVersion == 1:
		return errSchema1
	case body.MediaType != "" && string(body.MediaType) != m.MediaType:
		return errors.New("the manifest and its header name different media types")
	case m.IsIndex() && bool(!body.Manifests || body.Layers || body.Config):
		return errors.New("the index has no manifests, or has the layers or config of an image")
	case !m.IsIndex() && bool(body.Manifests || !body.Config):
		return errors.New("the manifest is no image manifest")
	}
	return nil
}

// present is true if a field is there. The field may be as large as the manifest, so it is not
// copied.
type present bool

func (p *present) UnmarshalJSON([]byte) error {
	*p = true
	return nil
}

// shortText is a media type. A longer text is not copied.
type shortText string

func (s *shortText) UnmarshalJSON(text []byte) error {
	if len(text) > maxMediaType {
		*s = "too long"
		return nil
	}
	return json.Unmarshal(text, (*string)(s))
}
