// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// apiVersion is the version of AdmissionReview that is supported. Every API server since 1.16
	// sends it.
	apiVersion = "admission.k8s.io/v1"
	// maxUser is longer than nearly any name of a user. The longest are the URL of an issuer and a
	// subject.
	maxUser = 4096
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
	Name        string           `json:"name"` // for logs and traces; cut to workload.MaxName
	User        struct {
		Name string `json:"username"`
		Node node   `json:"groups"`
	} `json:"userInfo"`
	DryRun bool `json:"dryRun"`
	Object part `json:"object"`
	Old    part `json:"oldObject"`

	peer       string // the address that it came from
	controlled bool   // the object was read, and has a controller
	unread     error  // if not nil, the review has no objects, for this reason
	leave      func() // if not nil, gives back the review's place in Handler.Reviews
}

// ofController reports whether a controller made the object. Without the object, only the user says
// so.
func (rv *review) ofController() bool {
	return rv.controlled || rv.unread != nil && pin.ByKubernetes(rv.User.Name)
}

// node reports whether a list of groups has the group that the API server puts every node into
// (k8s.io/apiserver pkg/authentication/user). The list itself is not kept.
type node bool

// UnmarshalJSONFrom reads the groups. It ignores a value that is not a list.
func (n *node) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return jsonwalk.Array(dec, func() error {
		if dec.PeekKind() != '"' {
			return dec.SkipValue()
		}
		group, err := dec.ReadValue()
		*n = *n || string(group) == `"system:nodes"`
		return err
	})
}

// part is a JSON value in the body of a request. It is nil if the value is missing or null.
type part struct {
	jsontext.Value

	from, to int64
}

// UnmarshalJSONFrom notes where the value is in the body. The value itself is taken from the body
// later, because that of the decoder would have to be copied.
func (p *part) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	null := dec.PeekKind() == 'n'
	value, err := dec.ReadValue()
	if end := dec.InputOffset(); err == nil && !null {
		p.from, p.to = end-int64(len(value)), end
	}
	return err
}

// maxLevels is how deep the values of a review may be nested to be read in the faster way.
const maxLevels = 100

// locateParts makes json.Unmarshal read each part by jsonwalk.Locate, which takes twice as long,
// but needs no large stack if the part is nested deeply.
var locateParts = json.WithUnmarshalers(json.UnmarshalFromFunc(
	func(dec *jsontext.Decoder, p *part) (err error) {
		if dec.PeekKind() == 'n' {
			return dec.SkipValue()
		}
		p.from, p.to, err = jsonwalk.Locate(dec)
		return err
	}))

func (p *part) take(body []byte) {
	if p.to > 0 {
		p.Value = jsonwalk.Cut(body, p.from, p.to)
	}
}

// decode decodes as much of a review as body has. unread is why the rest could not be decoded, or
// nil. err is not nil if the review can't be answered: an API server writes the version, the uid
// and the kind first, and none of them is long.
func decode(body []byte) (rv *review, unread, err error) {
	var envelope struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Request    review `json:"request"`
	}
	options := []json.Options{
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
	}
	if jsonwalk.IsDeeper(body, maxLevels) {
		options = append(options, locateParts)
	}
	unread = json.Unmarshal(body, &envelope, options...)
	rv = &envelope.Request
	isReview := envelope.Kind == "AdmissionReview" && envelope.APIVersion == apiVersion
	switch {
	case isReview && max(len(rv.UID), len(rv.Namespace), len(rv.Kind.Group),
		len(rv.Kind.Kind)) > workload.MaxName:
		return nil, nil, errors.New("a name in the AdmissionReview is too long")
	case isReview && rv.UID != "" && rv.Kind.Kind != "":
		rv.Name = truncate(rv.Name, workload.MaxName)
		return rv, unread, nil
	case unread != nil:
		return nil, nil, fmt.Errorf("reading the AdmissionReview: %w", unread)
	case isReview:
		return nil, nil, errors.New("the AdmissionReview has no request with a uid and a kind")
	}
	return nil, nil, fmt.Errorf("want an AdmissionReview of %s, got kind %q of %q", apiVersion,
		truncate(envelope.Kind, maxWarning), truncate(envelope.APIVersion, maxWarning))
}

// errLongName is why a review can't be read if the namespace is not in its beginning. Only the
// object's name can be the reason: an API server calls webhooks before it checks the name, and
// writes everything else that may be long after the namespace and the operation.
var errLongName = errors.New("the object's name is too long")

// parseHead parses the beginning of a review. If the namespace may be missing, the result has
// unread set.
func parseHead(head []byte) (*review, error) {
	rv, _, err := decode(head) // the rest is missing
	if err != nil {
		return nil, errors.New(
			"the AdmissionReview is large, and does not begin like that of an API server")
	}
	if rv.Operation == "" {
		rv.unread = errLongName
	}
	return rv, nil
}

// parseReview parses a review in one pass. The objects remain JSON, and share the memory of body.
// If the review can be answered, but not be read, the result has unread set.
func parseReview(body []byte) (*review, error) {
	rv, unread, err := decode(body)
	if err != nil {
		return nil, err
	}
	if len(rv.User.Name) > maxUser {
		rv.User.Name, unread = "", errors.New("the user's name is too long")
	}
	if rv.unread = unread; unread == nil {
		rv.Object.take(body)
		rv.Old.take(body)
	}
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
