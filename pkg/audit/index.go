// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/jsonwalk"
	"github.com/tagpin/tagpin/pkg/registry"
)

// maxManifests is the number of manifests of an index that are compared. The largest indexes of
// Docker Hub have a few dozen.
const maxManifests = 1000

// manifests are the manifests that a digest stands for.
type manifests map[digest.Digest]struct{}

// has reports whether each of some manifests is one of m.
func (m manifests) has(some manifests) bool {
	for d := range some {
		if _, ok := m[d]; !ok {
			return false
		}
	}
	return len(some) > 0
}

// manifestsOf returns the manifests that the digest of a manifest or index stands for: itself, or
// those of the platforms. Only as much of the index is read as maxManifests allows.
func manifestsOf(host string, d digest.Digest, m *registry.Manifest) (manifests, error) {
	if !m.IsIndex() {
		return manifests{d: {}}, nil
	}
	found, seen := manifests{}, 0
	dec := jsonwalk.NewDecoder(bytes.NewBuffer(m.Body))
	err := jsonwalk.Object(dec, func(name []byte) error {
		if string(name) != "manifests" {
			return dec.SkipValue()
		}
		return jsonwalk.Array(dec, func() error {
			if seen++; seen > maxManifests {
				return failure.Errorf(failure.Invalid,
					"%s: the index has more than %d manifests, too many to compare", host, maxManifests)
			}
			child, attestation, err := readChild(dec)
			if err == nil && !attestation && child.Validate() == nil {
				found[child] = struct{}{}
			}
			return err
		})
	})
	if err != nil && failure.Of(err) != failure.Invalid { // err may quote the index
		err = failure.Errorf(failure.Invalid, "%s: the index can't be read", host)
	}
	return found, err
}

// readChild reads a descriptor of an index. attestation is true if the manifest is an attestation,
// which differs between two builds of the same image.
func readChild(dec *jsontext.Decoder) (child digest.Digest, attestation bool, err error) {
	var os, referenceType string
	err = jsonwalk.Object(dec, func(name []byte) error {
		switch string(name) {
		case "digest":
			return readText(dec, (*string)(&child))
		case "platform":
			return readField(dec, "os", &os)
		case "annotations":
			return readField(dec, registry.ReferenceType, &referenceType)
		}
		return dec.SkipValue()
	})
	return child, registry.IsAttestation(os, referenceType), err
}

// readField reads the text of one field of an object.
func readField(dec *jsontext.Decoder, field string, text *string) error {
	return jsonwalk.Object(dec, func(name []byte) error {
		if string(name) != field {
			return dec.SkipValue()
		}
		return readText(dec, text)
	})
}

// readText reads a text. A value of another type is an error.
func readText(dec *jsontext.Decoder, text *string) error { return json.UnmarshalDecode(dec, text) }
