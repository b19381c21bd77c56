// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/tagpin/tagpin/pkg/reload"
)

// trusting is a transport that trusts the certificates of a CA file beside those that are trusted for
// all hosts. When the file changes, new connections are judged by the new certificates.
type trusting struct {
	client  *Client
	files   reload.Files[http.RoundTripper]
	current http.RoundTripper // made last; guarded by files, which calls parse
}

func newTrusting(c *Client, file string) (*trusting, error) {
	t := &trusting{client: c}
	t.files.Paths, t.files.Parse = []string{file}, t.parse
	_, err := t.files.Look()
	return t, err
}

// RoundTrip implements http.RoundTripper.
func (t *trusting) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.files.Current().RoundTrip(r)
}

func (t *trusting) parse(contents [][]byte) (http.RoundTripper, error) {
	pool, err := t.client.roots()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(contents[0]) {
		return nil, errors.New("it holds no PEM certificate")
	}
	if t.current != nil {
		closeIdle(t.current) // its connections were judged by the former certificates
	}
	t.current = t.client.newTransport(pool)
	return t.current, nil
}

// roots is a copy of what is trusted for all hosts.
func (c *Client) roots() (*x509.CertPool, error) {
	if c.RootCAs != nil {
		return c.RootCAs.Clone(), nil
	}
	return x509.SystemCertPool()
}
