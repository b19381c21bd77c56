// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/tagpin/tagpin/pkg/reload"
)

// TransportWithCA returns a transport that also trusts the CAs in a PEM file. When the file
// changes, the new CAs are trusted for new connections.
func (n *Network) TransportWithCA(file string) (http.RoundTripper, error) {
	t := &reloading{network: n}
	t.files.Paths, t.files.Parse = []string{file}, t.parse
	_, err := t.files.Look()
	return t, err
}

// reloading is a transport that is replaced when its CA file changes.
type reloading struct {
	network *Network
	files   reload.Files[*transport]
	current *transport // guarded by files, which calls parse
}

func (t *reloading) parse(contents [][]byte) (*transport, error) {
	var pool *x509.CertPool
	var err error
	if t.network.Roots != nil {
		pool = t.network.Roots.Clone()
	} else if pool, err = x509.SystemCertPool(); err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(contents[0]) {
		return nil, errors.New("it holds no PEM certificate")
	}
	if t.current != nil {
		t.current.CloseIdleConnections() // which were verified with the former CAs
	}
	t.current = t.network.transport(pool)
	return t.current, nil
}

func (t *reloading) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.files.Current().RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *reloading) CloseIdleConnections() { t.files.Current().CloseIdleConnections() }
