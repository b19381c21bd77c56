// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// apiVersion is the version of AdmissionReview that is supported. Every API server since 1.16
	// sends it.
	apiVersion = "admission.k8s.io/v1"
	// maxName is longer than any name that an API server sends. The longest are names of users: the
	// URL of an issuer and a subject.
	maxName = 4096
	// ephemeralContainers is the subresource of Pods through which kubectl debug adds containers.
	ephemeralContainers = "ephemeralcontainers"
)

// review has the fields of an AdmissionReview's request that tagpin uses.
type review struct {
	UID         string           `json:"uid"`
	Kind        workload.Kind    `json:"kind"`
	SubResource string           `json:"subResource"`
	Operation   policy.Operation `json:"operation"`
	Namespace   string           `json:"namespace"`
	Name        string           `json:"name"`
	User        struct {
		Name string `json:"username"`
		Node node   `json:"groups"`
	} `json:"userInfo"`
	DryRun bool `json:"dryRun"`
	Object part `json:"object"`
	Old    part `json:"oldObject"`

	peer   string // the address that it came from
	unread error  // if not nil, only the beginning of the review was read, for this reason
	leave  func() // if not nil, gives back the review's place in Handler.Reviews
}

// node reports whether a list of groups has the group that the API server puts every node into
// (k8s.io/apiserver pkg/authentication/user). The list itself is not kept.
type node bool

// UnmarshalJSONFrom reads the groups. It ignores a value that is not a list.
func (n *node) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return jsonwalk.Array(dec, func() error {
		group, err := dec.ReadValue()
		*n = *n || string(group) == `"system:nodes"`
		return err
	})
}

// part is a JSON value in the body of a request. It is nil if the value is missing or null.
type part struct {
	jsontext.Value

	end, length int64
}

// UnmarshalJSONFrom notes where the value is in the body. The value itself is taken from the body
// later, because that of the decoder would have to be copied.
func (p *part) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	null := dec.PeekKind() == 'n'
	value, err := dec.ReadValue()
	if err == nil && !null {
		p.end, p.length = dec.InputOffset(), int64(len(value))
	}
	return err
}

func (p *part) take(body []byte) {
	if p.length > 0 {
		p.Value = body[p.end-p.length : p.end]
	}
}

// decode decodes as much of a review as body has.
func decode(body []byte) (rv *review, apiVersion, kind string, err error) {
	var envelope struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Request    review `json:"request"`
	}
	err = json.Unmarshal(body, &envelope,
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return &envelope.Request, envelope.APIVersion, envelope.Kind, err
}

// errLongName is returned for a name that no API server sends.
var errLongName = errors.New("a name in the AdmissionReview is too long")

// parseHead parses the beginning of a review. It fails if the namespace may be missing: an API
// server writes the namespace, and then the operation, before everything that may be long.
func parseHead(head []byte) (*review, error) {
	rv, _, _, _ := decode(head) // the error is that the end is missing
	switch {
	case rv.Operation == "":
		return nil, errors.New(
			"the AdmissionReview is large, and does not begin like that of an API server")
	case max(len(rv.UID), len(rv.Namespace)) > maxName:
		return nil, errLongName
	}
	return rv, nil
}

// parseReview parses a review in one pass. The objects remain JSON, and share the memory of body.
func parseReview(body []byte) (*review, error) {
	rv, version, kind, err := decode(body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
	case max(len(rv.UID), len(rv.Kind.Group), len(rv.Kind.Kind), len(rv.Namespace), len(rv.Name),
		len(rv.User.Name)) > maxName:
		return nil, errLongName
	case kind != "AdmissionReview" || version != apiVersion:
		return nil, fmt.Errorf("want an AdmissionReview of %s, got kind %q of %q",
			apiVersion, truncate(kind, maxWarning), truncate(version, maxWarning))
	case rv.UID == "":
		return nil, errors.New("the AdmissionReview has no request with a uid")
	}
	rv.Object.take(body)
	rv.Old.take(body)
	return rv, nil
}

// drop forgets the objects and gives back their place.
func (rv *review) drop() {
	rv.Object, rv.Old = part{}, part{}
	if rv.leave != nil {
		rv.leave()
		rv.leave = nil
	}
}
