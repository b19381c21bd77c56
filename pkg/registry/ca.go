// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// lookInterval is how often a CA file is looked at, at most. A mounted secret takes a minute to change anyway.
const lookInterval = 10 * time.Second

// trusting is a transport that trusts a CA file's certificates beside those for all hosts. When the file changes, new
// connections are judged by the new one; a file that can't be read, or holds none, leaves things as they are.
type trusting struct {
	client *Client
	file   string

	mu      sync.Mutex
	looked  time.Time
	seen    os.FileInfo // what current is made of
	current http.RoundTripper
}

func newTrusting(c *Client, file string) (*trusting, error) {
	t := &trusting{client: c, file: file, looked: time.Now()}
	return t, t.readLocked()
}

func (t *trusting) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.transport().RoundTrip(r)
}

func (t *trusting) transport() http.RoundTripper {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) >= lookInterval {
		t.looked = time.Now()
		if info, err := os.Stat(t.file); err == nil && !same(info, t.seen) {
			_ = t.readLocked() // the next look tries again
		}
	}
	return t.current
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (t *trusting) readLocked() error {
	info, err := os.Stat(t.file)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(t.file)
	if err != nil {
		return err
	}
	pool, err := t.client.roots()
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no PEM certificate", t.file)
	}
	if t.current != nil {
		closeIdle(t.current) // what the old one vouched for
	}
	t.seen, t.current = info, t.client.newTransport(pool)
	return nil
}

// roots is a copy of what is trusted for all hosts.
func (c *Client) roots() (*x509.CertPool, error) {
	if c.RootCAs != nil {
		return c.RootCAs.Clone(), nil
	}
	return x509.SystemCertPool()
}
