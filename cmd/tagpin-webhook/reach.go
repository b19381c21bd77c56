// SPDX-License-Identifier: Apache-2.0

package main

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

// The registration gets its rules when the webhook was reached at so many looks in a row, a second
// apart: other nodes, where API servers run, may hear of a new endpoint a moment later.
const enoughReaches = 3

// reachPatience is how long the server waits until the webhook is reached. Where it can't reach its
// own Service, as with a network policy that is not the chart's, API servers may still do.
const reachPatience = time.Minute

// reachTimeout bounds one attempt.
const reachTimeout = 2 * time.Second

// reaching tells whether the webhook was reached.
type reaching struct {
	since time.Time // the first attempt; zero if there was none
	times int       // the attempts in a row that succeeded
}

// reached returns what the registration waits for until the webhook is reached as API servers reach
// it. From the moment when it has rules, each request that they name fails until then.
func (u *upkeep) reached(
	ctx context.Context, live *admissionregistrationv1.MutatingWebhookConfiguration,
) (waits string) {
	if u.reaching.since.IsZero() {
		u.reaching.since = time.Now()
	}
	for _, w := range ours(live) {
		err := u.reach(ctx, w)
		if err == nil {
			continue
		}
		u.reaching.times = 0
		if time.Since(u.reaching.since) < reachPatience {
			return fmt.Sprintf("webhook %s is not reached through its Service yet: %v", w.Name, err)
		}
		u.log.Error(err, "webhook is not reached through its Service, and gets its rules all the same: "+
			"check that API servers reach it, and that network policies admit tagpin's own pods",
			"webhook", w.Name, "waited", reachPatience.String())
		return ""
	}
	if u.reaching.times++; u.reaching.times < enoughReaches {
		return "the webhook was reached a moment ago: other nodes may be later"
	}
	return ""
}

// reach connects to a webhook as an API server does, and returns nil when a server there shows a
// certificate that the caBundle verifies. It sends no request, which --client-ca would refuse.
func (h *hook) reach(
	ctx context.Context, w *admissionregistrationv1.MutatingWebhook, now func() time.Time,
) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	address, name, err := h.address(ctx, &w.ClientConfig)
	if err != nil {
		return err
	}
	config := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, Time: now}
	if bundle := w.ClientConfig.CABundle; len(bundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(bundle)
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		// Not the whole net.OpError, which names another local port each time.
		if op := new(net.OpError); errors.As(err, &op) {
			err = op.Err
		}
		return fmt.Errorf("connecting to %s: %w", address, err)
	}
	return conn.Close()
}

// address is where an API server connects for a webhook, and the DNS name that it asks for. A
// Service is looked up in the API server, since not every cluster has a DNS of its own.
func (h *hook) address(
	ctx context.Context, c *admissionregistrationv1.WebhookClientConfig,
) (address, name string, err error) {
	switch {
	case c.URL != nil:
		return addressOf(*c.URL)
	case c.Service == nil:
		return "", "", errors.New("the webhook has neither a service nor a URL")
	}
	port := 443
	if c.Service.Port != nil {
		port = int(*c.Service.Port)
	}
	services := h.client.CoreV1().Services(c.Service.Namespace)
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
		host = name // of a headless service, whose addresses DNS knows
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), name, nil
}

// addressOf is address for a URL.
func addressOf(text string) (address, name string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", err
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")), u.Hostname(), nil
}
