// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/tagpin/tagpin/pkg/certificate"
)

// note records which CAs the registration trusts.
func (r *Registrar) note() {
	var bundles [][]byte
	for _, w := range webhooks(r.live) {
		bundles = append(bundles, w.ClientConfig.CABundle)
	}
	r.sightings.Note(bundles...)
}

// renew renews the certificates in the secret. There may be material although there is an error.
func (r *Registrar) renew(ctx context.Context) (err error) {
	if r.Secret == nil {
		return nil
	}
	_, most := countRules(r.live) // if 0, no API server calls the webhook
	settled := func(ca *x509.Certificate) bool {
		return r.readable && (most == 0 || r.sightings.Settled(ca))
	}
	if r.material, err = r.Secret.Renew(ctx, settled); r.material != nil {
		r.Source.SetCA(r.material.CAs[0])
	}
	return failed(r.renewals, err)
}

// withCAs returns the registration with the CAs of the secret. The present CAs stay until all API
// servers trust the secret's first one, since other replicas may serve their leaves. So does the CA
// of the leaf that this replica serves. If the registration and the secret were replaced together,
// other replicas serve that leaf until they see the new one.
func (r *Registrar) withCAs() *configuration {
	want, m := r.live.DeepCopy(), r.material
	if m == nil {
		return want
	}
	var served []*x509.Certificate
	if r.issuer != nil {
		served = append(served, r.issuer)
	}
	settled := r.sightings.Settled(m.CAs[0])
	for _, w := range webhooks(want) {
		w.ClientConfig.CABundle = m.Bundle(w.ClientConfig.CABundle, settled, served...)
	}
	return want
}

// serve starts to serve the leaf of the secret, unless it has to wait, and returns the reason.
func (r *Registrar) serve() (waits string) {
	m, former := r.material, r.Source.Leaf()
	if m == nil || former != nil && former.Leaf.Equal(m.Leaf.Leaf) {
		return ""
	}
	// There is nothing to wait for if the former leaf has the same CA, or is not valid.
	if former == nil ||
		former.Leaf.CheckSignatureFrom(m.Issuer()) != nil && r.Source.Ready(nil) == nil {
		if waits = r.whyNotServed(); waits != "" {
			return waits
		}
	}
	r.Source.Serve(m.Leaf)
	r.issuer = m.Issuer()
	return ""
}

// whyNotServed returns why an API server may not trust the leaf of the secret yet, or "".
func (r *Registrar) whyNotServed() string {
	issuer, former, now := r.material.Issuer(), r.Source.Leaf(), r.Source.Now()
	trustsFormer := func(w *webhook) bool { return r.verify(former, w) == nil }
	switch {
	case !r.readable && former == nil && certificate.Aged(issuer, now):
		// The CA has probably been in the registration for long. Without a certificate, every review
		// would fail.
		return ""
	case !r.readable:
		return waitsForAPIServers
	case former != nil && !slices.ContainsFunc(webhooks(r.live), trustsFormer):
		return "" // waiting would make more calls fail
	}
	if why := r.whyDistrusted(r.material.Leaf, "of the secret"); why != "" {
		return why
	}
	// Without rules, no API server calls the webhook.
	if _, most := countRules(r.live); most > 0 && !r.sightings.Known(issuer, now) {
		return waitsForAPIServers
	}
	return ""
}

// whyDistrusted returns which webhook does not trust a leaf now, and why, or "".
func (r *Registrar) whyDistrusted(leaf *tls.Certificate, origin string) string {
	for _, w := range webhooks(r.live) {
		if err := r.verify(leaf, w); err != nil {
			return fmt.Sprintf("webhook %s does not trust the certificate %s: %v", w.Name, origin, err)
		}
	}
	return ""
}

// verify returns an error if a webhook does not trust a leaf now.
func (r *Registrar) verify(leaf *tls.Certificate, w *webhook) error {
	return certificate.Verify(leaf, w.ClientConfig.CABundle, r.DNSName, r.Source.Now())
}
