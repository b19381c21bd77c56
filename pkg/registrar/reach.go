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
)

const (
	// enoughReached is how often in a row, a second apart, the webhook must be reached before the
	// registration gets its rules. API servers on other nodes may see a new endpoint a moment later.
	enoughReached = 3
	// reachPatience is how long the Registrar waits until the webhook is reached. If the server can't
	// reach its own Service, for example because of a network policy, API servers may still reach it.
	reachPatience = time.Minute
	// reachTimeout is the time limit of one attempt.
	reachTimeout = 2 * time.Second
)

// reached counts the attempts to reach the webhook through its Service.
type reached struct {
	since time.Time // of the first attempt; zero if there was none
	times int       // the last attempts in a row that succeeded
}

// whyNotReached returns why the webhook is not reached yet as an API server reaches it, or "" if it
// is, or if the rules have waited long enough. If the registration had rules before the webhook is
// reached, each request that they match would fail.
func (r *Registrar) whyNotReached(ctx context.Context) (waits string) {
	if r.reached.since.IsZero() {
		r.reached.since = time.Now()
	}
	for _, w := range webhooks(r.live) {
		err := r.Dial(ctx, w)
		if err == nil {
			continue
		}
		r.reached.times = 0
		if time.Since(r.reached.since) < reachPatience {
			return fmt.Sprintf("webhook %s is not reached through its Service yet: %v", w.Name, err)
		}
		r.Log.Error(err, "webhook is not reached through its Service, and gets its rules anyway: "+
			"check that API servers reach it, and that network policies admit tagpin's own pods",
			"webhook", w.Name, "waited", reachPatience.String())
		return ""
	}
	if r.reached.times++; r.reached.times < enoughReached {
		return "the webhook was reached, but other nodes may see its endpoint later"
	}
	return ""
}

// dial connects to a webhook as an API server does. It returns an error if the caBundle does not
// verify the certificate there. It sends no request, which --client-ca would refuse.
func (r *Registrar) dial(ctx context.Context, w *webhook) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	address, name, err := r.address(ctx, &w.ClientConfig)
	if err != nil {
		return err
	}
	config := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, Time: r.Source.Now}
	if bundle := w.ClientConfig.CABundle; len(bundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(bundle)
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		// The whole net.OpError would name another local port each time.
		if op := new(net.OpError); errors.As(err, &op) {
			err = op.Err
		}
		return fmt.Errorf("connecting to %s: %w", address, err)
	}
	return conn.Close()
}

// address returns where an API server connects for a webhook, and the DNS name that it verifies.
// The Service is read from the API server, since not every cluster has DNS.
func (r *Registrar) address(
	ctx context.Context, c *admissionregistrationv1.WebhookClientConfig,
) (address, name string, err error) {
	switch {
	case c.URL != nil:
		u, err := url.Parse(*c.URL)
		if err != nil {
			return "", "", err
		}
		return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")), u.Hostname(), nil
	case c.Service == nil:
		return "", "", errors.New("the webhook has neither a service nor a URL")
	}
	port := 443
	if c.Service.Port != nil {
		port = int(*c.Service.Port)
	}
	services := r.Client.CoreV1().Services(c.Service.Namespace)
	service, err := services.Get(ctx, c.Service.Name, metav1.GetOptions{})
	if err != nil {
		return "", "", fmt.Errorf("reading service %s: %w", c.Service.Name, err)
	}
	name = c.Service.Name + "." + c.Service.Namespace + ".svc"
	host := service.Spec.ClusterIP
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		host = service.Spec.ExternalName
	case host == "" || host == corev1.ClusterIPNone:
		host = name // DNS knows the addresses of a headless service
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), name, nil
}
