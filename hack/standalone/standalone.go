// SPDX-License-Identifier: Apache-2.0

// Package standalone runs tagpin-webhook on this machine without a cluster, for the demo and the
// benchmark.
package standalone

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/util/cert"
)

// Build builds a program, tagpin or tagpin-webhook, into dir. The working directory must be the
// root of the repository.
func Build(ctx context.Context, dir, program string, progress io.Writer) error {
	fmt.Fprintf(progress, "building %s: takes minutes the first time, then seconds\n", program)
	build := exec.CommandContext(ctx, "go", "build", "-o", dir, "./cmd/"+program)
	build.Stderr = progress
	if err := build.Run(); err != nil {
		return fmt.Errorf("building %s, from the root of the repository: %w", program, err)
	}
	return nil
}

// Certificate creates a certificate for 127.0.0.1 and writes it to tls.crt and tls.key in dir. It
// returns the configs of a server that has this certificate and of a client that trusts it.
func Certificate(dir string) (server, client *tls.Config, err error) {
	localhost := net.IPv4(127, 0, 0, 1)
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{localhost}, nil)
	if err != nil {
		return nil, nil, err
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, "tls.crt"), certPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), keyPEM, 0o600))
	if err != nil {
		return nil, nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	server = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return server, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// FreeAddress returns an address on 127.0.0.1 whose port is not in use.
func FreeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
