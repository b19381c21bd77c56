// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/tagpin/tagpin/pkg/reload"
)

// TLSFiles are the PEM files of a host's own TLS settings.
type TLSFiles struct {
	// CA has the CAs that are trusted beside the others. It may be empty.
	CA string
	// ClientCert and ClientKey are shown to the host if it asks for a client certificate. Both or
	// neither may be empty.
	ClientCert, ClientKey string
}

// TransportFor returns a transport with a host's TLS settings. It also serves the requests to other
// hosts that the host's requests lead to, such as token realms. The CA counts for those too, but
// the client certificate is shown to the host alone. When a file changes, it counts for new
// connections. host is in its canonical spelling.
func (n *Network) TransportFor(host string, files TLSFiles) (http.RoundTripper, error) {
	t := &reloading{network: n, host: host, tls: files}
	for _, path := range []string{files.CA, files.ClientCert, files.ClientKey} {
		if path != "" {
			t.files.Paths = append(t.files.Paths, path)
		}
	}
	t.files.Parse = t.parse
	_, err := t.files.Look()
	return t, err
}

// reloading is a transport that is replaced when one of its files changes.
type reloading struct {
	network *Network
	host    string
	tls     TLSFiles
	files   reload.Files[transports]
	current transports // guarded by files, which calls parse
}

// transports are those for requests to the host itself, and to others. They may be the same.
type transports struct{ own, others *transport }

func (t *reloading) parse(contents [][]byte) (transports, error) {
	pool := t.network.Roots
	if t.tls.CA != "" {
		var err error
		if pool, err = t.network.trusting(contents[0]); err != nil {
			return transports{}, err
		}
		contents = contents[1:]
	}
	parsed := transports{others: t.network.transport(pool)}
	parsed.own = parsed.others
	if t.tls.ClientCert != "" {
		certificate, err := tls.X509KeyPair(contents[0], contents[1]) // err quotes no key
		if err != nil {
			return transports{}, err
		}
		parsed.own = t.network.transport(pool, certificate)
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

func (t *reloading) RoundTrip(r *http.Request) (*http.Response, error) {
	current := t.files.Current()
	if CanonicalHost(r.URL.Host, r.URL.Scheme == "http") == t.host {
		return current.own.RoundTrip(r)
	}
	return current.others.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *reloading) CloseIdleConnections() { t.files.Current().closeIdle() }

func (t transports) closeIdle() {
	for _, each := range []*transport{t.own, t.others} {
		if each != nil {
			each.CloseIdleConnections()
		}
	}
}
