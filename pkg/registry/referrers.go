// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// MaxReferrers bounds the referrers that are read of one manifest.
const MaxReferrers = 1000

// Referrers are the manifests whose subject is another manifest, such as signatures and SBOMs.
type Referrers struct {
	Manifests []ocispec.Descriptor
	// Tag is the tag under which they are listed, if the registry has no API for them (distribution
	// specification, "Referrers Tag Schema"). It is "" if the registry's API has listed them.
	Tag string
	// More is true if there are referrers that were not read.
	More bool
}

// Referrers returns the referrers of the manifest whose digest the request's reference has. If the
// registry does not have the API for them, they are those of the tag that stands for it. The error
// has a class of package failure.
func (c *Client) Referrers(ctx context.Context, req Request) (*Referrers, error) {
	d := req.Ref.Digest()
	if d == "" {
		return nil, failure.Errorf(failure.Invalid, "%s: referrers of a tag", req.Ref.Host())
	}
	found, supported := &Referrers{}, true
	list := resource{
		what: "list of referrers", path: "referrers/" + d.String(),
		accept: string(types.OCIImageIndex),
	}
	more, err := c.pages(ctx, req, list,
		func(l *lookup, resp *http.Response, body []byte) (next bool, err error) {
			mediaType := newManifest(resp.Header).MediaType
			if supported = types.MediaType(mediaType) == types.OCIImageIndex; !supported {
				return false, nil // some registries send a page of HTML for what they don't know
			}
			return found.add(l, body)
		})
	found.More = found.More || more
	switch {
	case errors.Is(err, failure.Unavailable):
		return nil, err
	case err == nil && supported:
		return found, nil
	}
	return c.taggedReferrers(ctx, req, d, err)
}

// taggedReferrers returns the referrers that are listed under a tag. failed is the error of the
// API, or nil.
func (c *Client) taggedReferrers(
	ctx context.Context, req Request, d digest.Digest, failed error,
) (*Referrers, error) {
	tag := ReferrersTag(d)
	named, err := ref.Parse(req.Ref.Repository() + ":" + tag)
	if err != nil {
		return nil, failure.New(failure.Invalid, err)
	}
	req.Ref = named
	m, err := c.Manifest(ctx, req)
	switch {
	case errors.Is(err, failure.NotFound):
		// A registry whose API refuses all may also have hidden the tag.
		if errors.Is(failed, failure.Unauthorized) {
			return nil, failed
		}
		return &Referrers{}, nil
	case err != nil:
		return nil, err
	}
	defer m.Release()
	found := &Referrers{Tag: tag}
	if !m.IsIndex() { // a tag of someone's own
		return &Referrers{}, nil
	}
	_, err = found.add(c.lookup(req.Ref.Host(), req, keychain.Credential{}, new(slot)), m.Body)
	return found, err
}

// ReferrersTag returns the tag that lists the referrers of a manifest: the algorithm and the
// encoded part of its digest, each cut to a length, without characters that no tag has
// (distribution specification, "Referrers Tag Schema").
func ReferrersTag(d digest.Digest) string {
	algorithm, encoded, _ := strings.Cut(d.String(), ":")
	algorithm = algorithm[:min(len(algorithm), maxAlgorithm)]
	encoded = encoded[:min(len(encoded), maxEncoded)]
	return noTagCharacter.ReplaceAllString(algorithm+"-"+encoded, "-")
}

// maxAlgorithm and maxEncoded are the lengths of the two parts of a digest in ReferrersTag.
const maxAlgorithm, maxEncoded = 32, 64

// noTagCharacter matches a character that no tag has.
var noTagCharacter = regexp.MustCompile(`[^a-zA-Z0-9._-]`)

// add adds a page. next is true if there is room for another one.
func (r *Referrers) add(l *lookup, body []byte) (next bool, err error) {
	var page ocispec.Index
	if err := json.Unmarshal(body, &page); err != nil {
		return false, l.invalid("its list of referrers is malformed") // err may quote it
	}
	for _, m := range page.Manifests {
		switch {
		case m.Digest.Validate() != nil:
		case len(r.Manifests) >= MaxReferrers:
			r.More = true
			return false, nil
		default:
			r.Manifests = append(r.Manifests, m)
		}
	}
	return true, nil
}
