// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/tagpin/tagpin/pkg/reload"
)

// TLSFiles are the PEM files of a host's own TLS settings.
type TLSFiles struct {
	// CA has the CAs that are trusted beside the others. It may be empty.
	CA string
	// ClientCert is shown to the host if it asks for a client certificate, and ClientKey is its
	// key. Both or neither may be empty.
	ClientCert, ClientKey string
}

// TransportFor returns a transport with a host's TLS settings. host is in its canonical spelling.
func (n *Network) TransportFor(host string, files TLSFiles) (*HostTransport, error) {
	return n.transportFor(&HostTransport{network: n, host: host, tls: files})
}

// UnverifiedFor is TransportFor for a host of which any certificate is accepted, as of all others
// to which its requests lead. The client certificate is still shown to the host alone.
func (n *Network) UnverifiedFor(host string, files TLSFiles) (*HostTransport, error) {
	return n.transportFor(&HostTransport{network: n, host: host, tls: files, unverified: true})
}

func (n *Network) transportFor(t *HostTransport) (*HostTransport, error) {
	for _, path := range []string{t.tls.CA, t.tls.ClientCert, t.tls.ClientKey} {
		if path != "" {
			t.files.Paths = append(t.files.Paths, path)
		}
	}
	t.files.Parse = t.parse
	return t, t.Look()
}

// HostTransport is the transport of a host that has TLS files. It also serves the requests to other
// hosts that the host's requests lead to, such as token realms. The CA counts for those too, but
// the client certificate is shown to the host alone. When a file changes, it counts for new
// connections. If it can't be used, the former files stay in use.
type HostTransport struct {
	network    *Network
	host       string
	tls        TLSFiles
	unverified bool // any certificate is accepted
	files      reload.Files[transports]
	current    transports // guarded by files, which calls parse
}

// transports are those for requests to the host itself, and to others. They may be the same.
type transports struct{ own, others *transport }

func (t *HostTransport) parse(contents [][]byte) (transports, error) {
	pool := t.network.Roots
	if t.tls.CA != "" {
		var err error
		if pool, err = t.network.trusting(contents[0]); err != nil {
			return transports{}, fmt.Errorf("%s: %w", t.tls.CA, err)
		}
		contents = contents[1:]
	}
	settings := tlsSettings{roots: pool, unverified: t.unverified}
	parsed := transports{others: t.network.transportWith(settings)}
	parsed.own = parsed.others
	if t.tls.ClientCert != "" {
		certificate, err := tls.X509KeyPair(contents[0], contents[1]) // err quotes no key
		if err != nil {
			return transports{}, fmt.Errorf("%s with %s: %w", t.tls.ClientCert, t.tls.ClientKey, err)
		}
		settings.client = []tls.Certificate{certificate}
		parsed.own = t.network.transportWith(settings)
	}
	t.current.closeIdle() // they were made with the former files
	t.current = parsed
	return parsed, nil
}

// trusting returns the CAs that are trusted for all hosts, and those of a PEM file.
func (n *Network) trusting(pem []byte) (pool *x509.CertPool, err error) {
	if n.Roots != nil {
		pool = n.Roots.Clone()
	} else if pool, err = x509.SystemCertPool(); err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}

// Look looks at the files now, also if there are no requests. It returns an error if they can't be
// used as they are.
func (t *HostTransport) Look() error {
	_, err := t.files.Look()
	return err
}

// RoundTrip implements http.RoundTripper.
func (t *HostTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	current := t.files.Current()
	if CanonicalHost(r.URL.Host, r.URL.Scheme == "http") == t.host {
		return current.own.RoundTrip(r)
	}
	return current.others.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *HostTransport) CloseIdleConnections() { t.files.Current().closeIdle() }

func (t transports) closeIdle() {
	for _, each := range []*transport{t.own, t.others} {
		if each != nil {
			each.CloseIdleConnections()
		}
	}
}
