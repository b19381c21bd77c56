// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tagpin/tagpin/pkg/certificate"
)

// serve takes the leaf of the secret up when it may be served, and says why not yet. Where the former
// one is of the same CA, or is not valid now, there is nothing to wait for.
func (u *upkeep) serve(material *certificate.Material, distrusted func(*certificate.Material) string) (waits string) {
	if material == nil {
		return ""
	}
	former := u.certificates.leaf.Load()
	if former != nil && former.Leaf.Equal(material.Leaf.Leaf) {
		return ""
	}
	if former == nil || former.Leaf.CheckSignatureFrom(material.Issuer()) != nil &&
		valid(former, u.certificates.time()) == nil {
		if waits = distrusted(material); waits != "" {
			return waits
		}
	}
	u.certificates.serve(material.Leaf, u.log)
	u.issuer = material.Issuer()
	return ""
}

// unread trusts no other CA, as the registration could not be read; but where nothing is served yet, one that is no longer new: it
// has most likely stood there for long, and with no certificate every review fails.
func (u *upkeep) unread(m *certificate.Material) string {
	if u.certificates.leaf.Load() == nil && certificate.Aged(m.Issuer(), u.certificates.time()) {
		return ""
	}
	return unknownCA
}

// distrust says why a registration does not trust the leaf of the secret yet. Where there is none, or
// it calls for nothing, there is nobody who could not know the CA. Where no webhook there trusts the
// certificate that is served, waiting would only make more calls fail.
func (u *upkeep) distrust(live *admissionregistrationv1.MutatingWebhookConfiguration) func(*certificate.Material) string {
	return func(m *certificate.Material) string {
		if former := u.certificates.leaf.Load(); former != nil && !u.trusted(live, former) {
			return ""
		}
		for _, w := range ours(live) {
			if err := u.verify(m.Leaf, w); err != nil {
				return fmt.Sprintf("webhook %s does not trust the certificate of the secret: %v", w.Name, err)
			}
		}
		if !inert(live) && !u.sightings.Known(m.Issuer(), u.certificates.time()) {
			return unknownCA
		}
		return ""
	}
}

// trusted reports whether a webhook of the registration trusts leaf.
func (u *upkeep) trusted(
	live *admissionregistrationv1.MutatingWebhookConfiguration, leaf *tls.Certificate,
) bool {
	return slices.ContainsFunc(ours(live), func(w *admissionregistrationv1.MutatingWebhook) bool {
		return u.verify(leaf, w) == nil
	})
}

// verify returns why a webhook does not trust leaf now.
func (u *upkeep) verify(leaf *tls.Certificate, w *admissionregistrationv1.MutatingWebhook) error {
	own := u.certificates
	return certificate.Verify(leaf, w.ClientConfig.CABundle, own.dnsName, own.time())
}
