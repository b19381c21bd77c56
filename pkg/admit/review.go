// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// apiVersion is the version of AdmissionReview that is spoken; every API server since 1.16 does.
const apiVersion = "admission.k8s.io/v1"

// maxName is longer than any name that an API server passes on; user names, which are the longest, are URLs of issuers
// and subjects at most.
const maxName = 4096

// groupOfNodes is the group that the API server puts every node into (k8s.io/apiserver
// pkg/authentication/user).
const groupOfNodes = "system:nodes"

// review is what tagpin reads of an AdmissionReview. The raw values are parts of the body.
type review struct {
	APIVersion, ReviewKind string

	UID         string
	Kind        workload.Kind
	SubResource string
	Operation   policy.Operation
	Namespace   string
	Name        string
	User        string
	Node        bool // the user is a node: of the group system:nodes
	DryRun      bool
	Object, Old jsontext.Value
	requested   bool

	peer   string // the address that it came from
	unread error  // why only its beginning was read; nil: it was read whole
	leave  func() // gives back its place; nil: it has none
}

// parseHead reads what there is of a review whose end is missing. It fails if the namespace may be
// missing too: an API server writes it, and then the operation, before all that is long.
func parseHead(head []byte) (*review, error) {
	var rv review
	dec := jsontext.NewDecoder(bytes.NewReader(head), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	_ = object(dec, func(name string) error { // it always ends early
		if name != "request" {
			return dec.SkipValue()
		}
		return object(dec, func(name string) error {
			if name == "object" || name == "oldObject" {
				return io.EOF // all that is needed comes before
			}
			return rv.field(dec, name, head)
		})
	})
	switch {
	case rv.Operation == "":
		return nil, errors.New("the AdmissionReview is long, and does not begin as an API server's does")
	case max(len(rv.UID), len(rv.Namespace)) > maxName:
		return nil, errLongName
	}
	return &rv, nil
}

// errLongName reports a name that no API server passes on.
var errLongName = errors.New("the AdmissionReview has a name that is longer than any")

// parseReview reads the envelope in one pass and leaves the objects as they are.
func parseReview(body []byte) (*review, error) {
	var rv review
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	err := object(dec, func(name string) error {
		switch name {
		case "apiVersion":
			return text(dec, &rv.APIVersion)
		case "kind":
			return text(dec, &rv.ReviewKind)
		case "request":
			rv.requested = dec.PeekKind() == '{'
			return object(dec, func(name string) error { return rv.field(dec, name, body) })
		}
		return dec.SkipValue()
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
	case max(len(rv.UID), len(rv.Kind.Group), len(rv.Kind.Kind), len(rv.Namespace), len(rv.Name), len(rv.User)) > maxName:
		return nil, errLongName
	case rv.ReviewKind != "AdmissionReview" || rv.APIVersion != apiVersion:
		return nil, fmt.Errorf("want an AdmissionReview of %s, got kind %q of %q", apiVersion, truncate(rv.ReviewKind), truncate(rv.APIVersion))
	case !rv.requested || rv.UID == "":
		return nil, errors.New("the AdmissionReview holds no request with a uid")
	}
	return &rv, nil
}

// field reads one field of the request.
func (rv *review) field(dec *jsontext.Decoder, name string, body []byte) error {
	switch name {
	case "uid":
		return text(dec, &rv.UID)
	case "kind":
		return object(dec, func(name string) error {
			switch name {
			case "group":
				return text(dec, &rv.Kind.Group)
			case "kind":
				return text(dec, &rv.Kind.Kind)
			}
			return dec.SkipValue()
		})
	case "subResource":
		return text(dec, &rv.SubResource)
	case "operation":
		return text(dec, (*string)(&rv.Operation))
	case "namespace":
		return text(dec, &rv.Namespace)
	case "name":
		return text(dec, &rv.Name)
	case "userInfo":
		return object(dec, func(name string) error {
			switch name {
			case "username":
				return text(dec, &rv.User)
			case "groups":
				return among(dec, groupOfNodes, &rv.Node)
			}
			return dec.SkipValue()
		})
	case "dryRun":
		rv.DryRun = dec.PeekKind() == 't'
	case "object":
		return part(dec, &rv.Object, body)
	case "oldObject":
		return part(dec, &rv.Old, body)
	}
	return dec.SkipValue()
}

// part takes the value that is next as a part of body: null is none. The decoder's own buffer is not kept.
func part(dec *jsontext.Decoder, into *jsontext.Value, body []byte) error {
	null := dec.PeekKind() == 'n'
	value, err := dec.ReadValue()
	if err != nil || null {
		return err
	}
	end := dec.InputOffset()
	*into = body[end-int64(len(value)) : end]
	return nil
}

// object calls field for each name of the object that is next; field has to consume the value.
func object(dec *jsontext.Decoder, field func(name string) error) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if err := field(name.String()); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// text reads the string that is next; another value is skipped.
func text(dec *jsontext.Decoder, into *string) error {
	if dec.PeekKind() != '"' {
		return dec.SkipValue()
	}
	token, err := dec.ReadToken()
	if err == nil {
		*into = token.String()
	}
	return err
}

// among reports in found whether the array that is next holds want; another value is skipped.
func among(dec *jsontext.Decoder, want string, found *bool) error {
	if dec.PeekKind() != '[' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		var element string
		if err := text(dec, &element); err != nil {
			return err
		}
		*found = *found || element == want
	}
	_, err := dec.ReadToken()
	return err
}
