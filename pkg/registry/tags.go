// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/opencontainers/go-digest"
)

// MaxTags bounds the tags that are read of one repository.
const MaxTags = 100_000

// tagGrammar is the grammar of a tag (distribution specification, "Pulling manifests").
var tagGrammar = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// Tags are the tags of a repository.
type Tags struct {
	// Names are in the registry's order, at most MaxTags. Texts that are no tags are left out.
	Names []string
	// ByDigest has the tags of each manifest. It is nil unless the registry lists manifests too, as
	// Artifact Registry and Container Registry do.
	ByDigest map[digest.Digest][]string
	// More is true if the repository has tags that were not read.
	More bool
}

// Tags returns the tags of the repository of the request's reference. The error has a class of
// package failure. Each page is a request of its own.
func (c *Client) Tags(ctx context.Context, req Request) (*Tags, error) {
	found := &Tags{}
	list := resource{
		what: "list of tags", path: "tags/list",
		query: url.Values{"n": {"1000"}}, accept: "application/json",
	}
	more, err := c.pages(ctx, req, list,
		func(l *lookup, _ *http.Response, body []byte) (next bool, err error) {
			return found.add(l, body)
		})
	if err != nil {
		return nil, err
	}
	found.More = found.More || more
	return found, nil
}

// add adds a page. next is true if there is room for another one.
func (t *Tags) add(l *lookup, body []byte) (next bool, err error) {
	var page struct {
		Tags     *[]string `json:"tags"`
		Manifest map[digest.Digest]struct {
			Tag []string `json:"tag"`
		} `json:"manifest"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return false, l.invalid("its list of tags is malformed") // err may quote it
	}
	if page.Tags != nil { // it is null for a repository whose tags were deleted
		for _, name := range *page.Tags {
			if tagGrammar.MatchString(name) {
				t.Names = append(t.Names, name)
			}
		}
	}
	if len(t.Names) > MaxTags {
		t.Names, t.More = t.Names[:MaxTags], true
	}
	for d, manifest := range page.Manifest {
		if d.Validate() != nil {
			continue
		}
		if t.ByDigest == nil {
			t.ByDigest = map[digest.Digest][]string{}
		}
		tags := slices.DeleteFunc(manifest.Tag, func(tag string) bool {
			return !tagGrammar.MatchString(tag)
		})
		t.ByDigest[d] = append(t.ByDigest[d], tags...)
	}
	return len(t.Names) < MaxTags, nil
}
