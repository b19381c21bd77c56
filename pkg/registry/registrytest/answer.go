// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	digestHeader = "Docker-Content-Digest"
	// maxEndless is more than what any client should read, and not enough to keep a machine busy.
	maxEndless = 64 << 20
)

// Common answers.
var (
	Image = Manifest(ImageType, ImageBody)
	Index = Manifest(IndexType, IndexBody)
	// Denied asks for basic authentication.
	Denied = Challenged(`Basic realm="registry"`)
	// Challenge asks for a token of the registry's own host.
	Challenge = Challenged(`Bearer realm="https://{registry}/token",service="registry",scope="repository:app:pull"`)
	// Token is a token for the user that asks.
	Token = Answer{
		Body: strings.ReplaceAll(`{"token":"{}","access_token":"{}","expires_in":300}`, "{}", Canary+"-token-of-{who}"),
	}
)

// Answer is an answer of a host.
type Answer struct {
	Status int               // 0: 200
	Header map[string]string // {registry}, {realm} and {other} stand for the hosts' addresses
	Body   string            // of a GET; also {who} stands for the user
	Raw    string            // all that goes over the wire, instead of the fields above
	// Endless repeats the body up to maxEndless, and then hangs.
	Endless bool
	// Hang is where the host stops: before the "status", within the "header", or within the "body".
	Hang string
	// Hold delays the answer until it is closed. If nil, there is no delay.
	Hold <-chan struct{}
	// Delay is the time that the answer takes, after Hold.
	Delay time.Duration
}

// Manifest returns an answer with a manifest, its type and its digest.
func Manifest(mediaType, body string) Answer {
	return Answer{Body: body, Header: map[string]string{
		"Content-Type": mediaType, digestHeader: digest.FromString(body).String(),
	}}
}

// Challenged returns a 401 with a challenge.
func Challenged(challenge string) Answer {
	return Answer{
		Status: http.StatusUnauthorized, Header: map[string]string{"Www-Authenticate": challenge},
	}
}

// Redirect returns a redirect.
func Redirect(status int, location string) Answer {
	return Answer{Status: status, Header: map[string]string{"Location": location}}
}

// With returns the answer with another header. An empty value removes it.
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

// WithStatus returns the answer with another status.
func (a Answer) WithStatus(status int) Answer {
	a.Status = status
	return a
}

func (a Answer) write(w *World, rw http.ResponseWriter, r *http.Request, who string) {
	if a.Hold != nil {
		select {
		case <-a.Hold:
		case <-r.Context().Done():
		case <-w.over:
		}
	}
	select {
	case <-time.After(a.Delay):
	case <-r.Context().Done():
	case <-w.over:
	}
	if a.Hang == "status" {
		w.hang(r)
	}
	if a.Raw != "" || a.Hang == "header" {
		a.hijack(w, rw)
		return
	}
	for name, value := range a.Header {
		for one := range strings.SplitSeq(value, "\n") { // several headers with one name
			rw.Header().Add(name, w.Expand(one))
		}
	}
	body := strings.ReplaceAll(w.Expand(a.Body), "{who}", who)
	if a.Hang == "body" {
		rw.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
	}
	if r.Method == http.MethodHead && a.Hang == "" && a.Status == 0 {
		rw.Header().Set("Content-Length", fmt.Sprint(len(body)))
	}
	if a.Status != 0 {
		rw.WriteHeader(a.Status)
	}
	if r.Method == http.MethodHead {
		return
	}
	a.writeBody(w, rw, body)
	if a.Hang == "body" || a.Endless {
		_ = http.NewResponseController(rw).Flush()
		w.hang(r)
	}
}

func (a Answer) writeBody(w *World, rw http.ResponseWriter, body string) {
	for written := 0; ; {
		n, err := io.WriteString(rw, body)
		w.written.Add(int64(n))
		written += n
		if err != nil || !a.Endless || written > maxEndless {
			return
		}
		select {
		case <-w.over:
			return
		default:
		}
	}
}

// hang waits for the client or the test to end, and then closes the connection. A client that has
// not closed it yet might still receive an answer.
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
	_, _ = conn.Read(make([]byte, 1)) // until the client closes the connection
}

// describe returns what a request asks for, the credential that it has, and the user of that.
func describe(r *http.Request) (on, shown, who string) {
	on = r.Method + " " + r.URL.RequestURI()
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if repository, tag, ok := strings.Cut(path, "/manifests/"); ok {
		on = r.Method + " " + repository + ":" + tag
		if r.URL.Query().Has("ns") {
			on += "?ns=" + r.URL.Query().Get("ns")
		}
	}
	if strings.HasSuffix(r.URL.Path, "/token") {
		_ = r.ParseForm()
		scope := strings.TrimPrefix(r.Form.Get("scope"), "repository:")
		on = r.Method + " " + r.URL.Path[1:] + ":" + scope
		of, ok := strings.CutPrefix(r.Form.Get("refresh_token"), Canary+"-identity-of-")
		if ok {
			return on, "Identity " + of, of
		}
		if user := r.Form.Get("username"); user != "" { // a node sends its password by POST
			return on, "Password " + user, user
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
