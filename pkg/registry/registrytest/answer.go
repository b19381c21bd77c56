// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Manifests, and their types.
const (
	ImageType    = "application/vnd.oci.image.manifest.v1+json"
	IndexType    = "application/vnd.oci.image.index.v1+json"
	Schema1Type  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	Schema2Type  = "application/vnd.docker.distribution.manifest.v2+json"
	ListType     = "application/vnd.docker.distribution.manifest.list.v2+json"
	ImageBody    = `{"schemaVersion":2,"mediaType":"` + ImageType + `","config":{"digest":"sha256:0"},"layers":[]}`
	IndexBody    = `{"schemaVersion":2,"mediaType":"` + IndexType + `","manifests":[]}`
	Schema1Body  = `{"schemaVersion":1,"name":"app","tag":"1","fsLayers":[]}`
	digestHeader = "Docker-Content-Digest"
)

// Answers that several rules have.
var (
	Image  = Manifest(ImageType, ImageBody)
	Index  = Manifest(IndexType, IndexBody)
	Denied = Answer{Status: http.StatusUnauthorized, Header: map[string]string{"Www-Authenticate": `Basic realm="registry"`}}
	// Challenge is the registry's, for a token of its own host; Elsewhere for one of Realm.
	Challenge = Challenged(`Bearer realm="https://{registry}/token",service="registry",scope="repository:app:pull"`)
	Elsewhere = Challenged(`Bearer realm="https://{realm}/token",service="registry"`)
	// Token is who asks for it.
	Token = Answer{Body: `{"token":"` + Canary + `-token-of-{who}","expires_in":300}`}
)

// Answer is what a host says.
type Answer struct {
	Status int               // 0: 200
	Header map[string]string // {registry}, {realm}, {other} are replaced by the hosts' addresses
	Body   string            // the same, and {who} by who asks; of a GET alone
	Raw    string            // all of the answer, as it goes over the wire, in place of the others
	// Endless repeats the body without an end.
	Endless bool
	// Hang says where the host stops: before its "status", within its "header", or within its "body".
	Hang string
	// Hold keeps the answer until it is closed. Nil: it comes at once.
	Hold <-chan struct{}
}

// Manifest is an answer with a manifest, its type and its digest.
func Manifest(mediaType, body string) Answer {
	return Answer{Body: body, Header: map[string]string{"Content-Type": mediaType, digestHeader: digest.FromString(body).String()}}
}

// Challenged is a 401 with a challenge.
func Challenged(challenge string) Answer {
	return Answer{Status: http.StatusUnauthorized, Header: map[string]string{"Www-Authenticate": challenge}}
}

// Redirect is a redirect.
func Redirect(status int, location string) Answer {
	return Answer{Status: status, Header: map[string]string{"Location": location}}
}

// With is the answer with another header; an empty value takes it away.
func (a Answer) With(name, value string) Answer {
	header := map[string]string{name: value}
	for n, v := range a.Header {
		if _, ok := header[n]; !ok {
			header[n] = v
		}
	}
	if value == "" {
		delete(header, name)
	}
	a.Header = header
	return a
}

// WithStatus is the answer with another status.
func (a Answer) WithStatus(status int) Answer {
	a.Status = status
	return a
}

var nowhere = log.New(io.Discard, "", 0)

func (a Answer) write(w *World, rw http.ResponseWriter, r *http.Request, who string) {
	if a.Hold != nil {
		select {
		case <-a.Hold:
		case <-r.Context().Done():
		case <-w.over:
		}
	}
	if a.Hang == "status" {
		w.hang(r)
	}
	if a.Raw != "" || a.Hang == "header" {
		a.hijack(w, rw)
		return
	}
	for name, value := range a.Header {
		for one := range strings.SplitSeq(value, "\n") { // several headers of a name
			rw.Header().Add(name, w.Expand(one))
		}
	}
	body := strings.ReplaceAll(w.Expand(a.Body), "{who}", who)
	if a.Hang == "body" {
		rw.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
	}
	if a.Status != 0 {
		rw.WriteHeader(a.Status)
	}
	if r.Method == http.MethodHead {
		return
	}
	a.writeBody(w, rw, body)
	if a.Hang == "body" {
		_ = http.NewResponseController(rw).Flush()
		w.hang(r)
	}
}

func (a Answer) writeBody(w *World, rw http.ResponseWriter, body string) {
	for {
		n, err := io.WriteString(rw, body)
		w.written.Add(int64(n))
		if err != nil || !a.Endless {
			return
		}
		select {
		case <-w.over:
			return
		default:
		}
	}
}

// hang waits for the client or the test to end, and says nothing more: a client that is about to hang up may still hear it.
func (w *World) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-w.over:
	}
	panic(http.ErrAbortHandler)
}

// hijack writes a raw answer, or the beginning of one.
func (a Answer) hijack(w *World, rw http.ResponseWriter) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	text := a.Raw
	if a.Hang == "header" {
		text = "HTTP/1.1 200 OK\r\nContent-Ty"
	}
	if _, err := io.WriteString(conn, w.Expand(text)); err != nil || a.Hang == "" {
		return
	}
	_, _ = conn.Read(make([]byte, 1)) // until the client hangs up
}

// describe says what a request is for, what it shows, and of whom.
func describe(r *http.Request) (on, shown, who string) {
	on = r.Method + " " + r.URL.RequestURI()
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v2/"); ok {
		repository, tag, _ := strings.Cut(rest, "/manifests/")
		on = r.Method + " " + repository + ":" + tag
	}
	if strings.HasSuffix(r.URL.Path, "/token") {
		_ = r.ParseForm()
		on = r.Method + " " + r.URL.Path[1:] + ":" + strings.TrimPrefix(r.Form.Get("scope"), "repository:")
		if of, ok := strings.CutPrefix(r.Form.Get("refresh_token"), Canary+"-identity-of-"); ok {
			return on, "Identity " + of, of
		}
	}
	header := r.Header.Get("Authorization")
	if user, _, ok := r.BasicAuth(); ok {
		return on, "Basic " + user, user
	}
	if of, ok := strings.CutPrefix(header, "Bearer "+Canary+"-token-of-"); ok {
		if of == "nobody" {
			of = "public"
		}
		return on, "Bearer " + of, of
	}
	if header != "" {
		return on, "?", "?"
	}
	return on, "", "nobody"
}
