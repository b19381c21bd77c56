// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Caller connects to webhooks as an API server does.
type Caller struct {
	// Client reads Services, since not every cluster has DNS.
	Client kubernetes.Interface
	// Now is the clock by which certificates are verified. API servers use their own.
	Now func() time.Time
}

// Connection is a TLS connection to a webhook, whose certificate the caBundle has verified.
type Connection struct {
	*tls.Conn
	// Address is the address that the connection was made to, and Name the name that the certificate
	// was verified for.
	Address, Name string
	// WantsCertificate says that the webhook has asked for a certificate of the caller. A Caller has
	// none.
	WantsCertificate bool
}

// Connect connects to a webhook. It returns an error if the caBundle does not verify the
// certificate there. It sends no request.
func (c *Caller) Connect(
	ctx context.Context, w *admissionregistrationv1.WebhookClientConfig,
) (*Connection, error) {
	address, name, err := c.address(ctx, w)
	if err != nil {
		return nil, err
	}
	made := &Connection{Address: address, Name: name}
	config := &tls.Config{
		ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Time: c.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			made.WantsCertificate = true
			return &tls.Certificate{}, nil
		},
	}
	if len(w.CABundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(w.CABundle)
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		// The whole net.OpError would name another local port each time.
		if op := new(net.OpError); errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	made.Conn, _ = conn.(*tls.Conn) // as DialContext promises
	return made, nil
}

// address returns where an API server connects for a webhook, and the DNS name that it verifies.
func (c *Caller) address(
	ctx context.Context, w *admissionregistrationv1.WebhookClientConfig,
) (address, name string, err error) {
	switch {
	case w.URL != nil:
		u, err := url.Parse(*w.URL)
		if err != nil {
			return "", "", err
		}
		return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")), u.Hostname(), nil
	case w.Service == nil:
		return "", "", errors.New("the webhook has neither a service nor a URL")
	}
	port := 443
	if w.Service.Port != nil {
		port = int(*w.Service.Port)
	}
	services := c.Client.CoreV1().Services(w.Service.Namespace)
	service, err := services.Get(ctx, w.Service.Name, metav1.GetOptions{})
	if err != nil {
		return "", "", fmt.Errorf("reading service %s: %w", w.Service.Name, err)
	}
	name = w.Service.Name + "." + w.Service.Namespace + ".svc"
	host := service.Spec.ClusterIP
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		host = service.Spec.ExternalName
	case host == "" || host == corev1.ClusterIPNone:
		host = name // DNS knows the addresses of a headless service
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), name, nil
}
