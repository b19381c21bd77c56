// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

const (
	// maxList bounds one page of a list. Artifact Registry describes each manifest of a repository in
	// some 300 bytes, and sends them all at once.
	maxList = 32 << 20
	// maxPages bounds the pages of one list.
	maxPages = 1000
	// maxPageQuery bounds the query that a registry sends for the next page.
	maxPageQuery = 4 << 10
)

// resource is what a GET asks for in a repository if it is not a manifest. The zero value stands
// for the manifest of the reference.
type resource struct {
	what   noun
	path   string // below the repository
	query  url.Values
	accept string
	// read reads an answer with status 200. If its error is not one of a request, the lookup ends
	// with it.
	read func(*lookup, *http.Response) error
	// stream is true if the registry's timeout is for the answer and for each read of its body, and
	// not for the whole body, which may be large.
	stream bool
	late   *time.Timer // ends a stream; it runs while the registry is waited for
}

// noun names a resource for people. It is no string, because lookup.invalid cuts those as hosts.
type noun string

func manifestPath(r ref.Reference) string {
	return "manifests/" + cmp.Or(r.Digest().String(), r.Tag())
}

// limit returns the context of a request, which ends with the registry's timeout.
func (l *lookup) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if !l.resource.stream {
		return context.WithTimeout(ctx, l.Timeout)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(l.Timeout, func() { cancel(context.DeadlineExceeded) })
	l.resource.late = late
	return ctx, func() { late.Stop(); cancel(nil) }
}

// get gets a resource with the credentials of a request.
func (c *Client) get(ctx context.Context, req Request, what resource) error {
	_, err := tryEach(c, req, func(l *lookup) (struct{}, error) {
		l.resource = what
		_, err := l.request(ctx, http.MethodGet)
		return struct{}{}, err
	})
	return err
}

// pages gets the pages of a list, in order, and calls add for the JSON of each, until add returns
// false. more is true if there are pages that were not read. The URL of a next page comes from the
// registry, and only its query is used: the address stays the one of the repository.
func (c *Client) pages(
	ctx context.Context, req Request, what resource,
	add func(*lookup, *http.Response, []byte) (next bool, err error),
) (more bool, err error) {
	asked := map[string]bool{}
	for range maxPages {
		asked[what.query.Encode()] = true
		var next url.Values
		wanted := false
		what.read = func(l *lookup, resp *http.Response) error {
			body, err := l.readList(resp)
			if err != nil {
				return err
			}
			next = nextPage(resp.Header)
			wanted, err = add(l, resp, body)
			return err
		}
		switch err := c.get(ctx, req, what); {
		case err != nil:
			return false, err
		case next == nil || asked[next.Encode()]: // else the list would have no end
			return false, nil
		case !wanted:
			return true, nil
		}
		what.query = next
	}
	return true, nil
}

// readList reads a list and checks that it is a JSON object.
func (l *lookup) readList(resp *http.Response) ([]byte, error) {
	body, _, err := l.decoded(resp)
	if err != nil {
		return nil, err
	}
	list, err := io.ReadAll(io.LimitReader(body, maxList+1))
	switch {
	case err != nil:
		return nil, l.broken(err)
	case len(list) > maxList:
		return nil, l.invalid("its list is larger than %d MiB", maxList>>20)
	case !bytes.HasPrefix(bytes.TrimLeft(list, " \t\r\n"), []byte("{")) || !json.Valid(list):
		return nil, l.invalid("its list is no JSON object")
	}
	return list, nil
}

// link matches the header of a list that has a next page (RFC 8288), as the distribution
// specification has it.
var link = regexp.MustCompile(`^\s*<([^>]*)>\s*;.*\brel="?next"?`)

// nextPage returns the query of the next page, or nil.
func nextPage(h http.Header) url.Values {
	for _, value := range h.Values("Link") {
		found := link.FindStringSubmatch(value)
		if found == nil {
			continue
		}
		_, query, ok := strings.Cut(found[1], "?")
		if !ok || len(query) > maxPageQuery {
			return nil
		}
		values, err := url.ParseQuery(query)
		if err != nil || len(values) == 0 {
			return nil
		}
		return values
	}
	return nil
}

// streamed is the body of a stream. Each read has the registry's timeout. The time between the
// reads is the caller's, who may wait for a user, and ends nothing.
type streamed struct {
	l    *lookup
	body io.Reader
	err  error // why the body could not be read; io.EOF at its end
}

// Read implements io.Reader.
func (s *streamed) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.l.resource.late.Reset(s.l.Timeout)
	n, err := s.body.Read(p)
	s.l.resource.late.Stop()
	switch {
	case err == io.EOF:
		s.err = err
	case err != nil:
		e := s.l.broken(err)
		if r := asError(e); r != nil && r.class == "" {
			r.evidence = network.Broken
		}
		s.err = e
	}
	return n, s.err
}
