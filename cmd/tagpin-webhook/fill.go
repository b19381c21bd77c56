// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/registration"
)

// tend makes the registration as it should be, and returns how it is, also beside an error. It writes
// the CAs first, so that rules that the API server refuses hold up no certificate.
func (u *upkeep) tend(
	ctx context.Context, live *admissionregistrationv1.MutatingWebhookConfiguration,
	material *certificate.Material,
) (written *admissionregistrationv1.MutatingWebhookConfiguration, waits string, err error) {
	if len(ours(live)) == 0 {
		return live, "", fmt.Errorf("registration %s has no webhook of tagpin's", u.hook.name)
	}
	want := live.DeepCopy()
	u.trust(want, material)
	if written, err = u.update(ctx, live, want); err != nil {
		return live, "", err
	}
	filled := filling{live.UID, u.wanted()}
	if u.filled.is(filled) && rules(written) > 0 { // to switch a webhook off, delete it
		written, err = u.own(ctx, written)
		return written, "", err
	}
	want = written.DeepCopy()
	if waits = u.fill(ctx, want, filled.with); waits != "" {
		return written, waits, nil
	}
	full, err := u.update(ctx, written, want)
	if err != nil {
		return written, "", err
	}
	if full == written {
		u.updates.WithLabelValues("unchanged").Inc()
		u.log.Info("registration is as it should be", "name", u.hook.name)
	}
	u.filled, u.reaching = filled, reaching{}
	full, err = u.own(ctx, full)
	return full, "", err
}

// ofAnother is no reason to hurry: after an upgrade, this server ends soon.
const ofAnother = "the rules in the registration were written by another version of tagpin, " +
	"which is newer or which the manifests name: they stay, and this server's config does not change them"

// current reports whether the registration has the rules and conditions that this server would write.
func (u *upkeep) current(live *admissionregistrationv1.MutatingWebhookConfiguration) bool {
	want := live.DeepCopy()
	for _, w := range ours(want) {
		u.wanted().Fill(w)
	}
	return len(difference(live, want)) == 0
}

// trust puts the CAs into the webhooks. Those that are there stay until the secret's has stood there
// for a while, since other replicas may serve by them. So does the CA of the certificate that is
// served here, which is gone from the registration if that was replaced together with the secret:
// other replicas serve by it until they have seen the new one.
func (u *upkeep) trust(
	want *admissionregistrationv1.MutatingWebhookConfiguration, material *certificate.Material,
) {
	if material == nil {
		return
	}
	settled := u.sightings.Settled(material.CAs[0])
	for _, w := range ours(want) {
		current := w.ClientConfig.CABundle
		if u.issuer != nil && !settled {
			current = certificate.With(current, u.issuer)
		}
		w.ClientConfig.CABundle = material.Bundle(current, settled)
	}
}

// fill puts rules and conditions into the webhooks, or returns what it waits for. Until then a
// webhook is called for nothing, so that nothing is denied. It does so once for a registration and a
// config, so that two servers don't take out what the other has put in.
func (u *upkeep) fill(
	ctx context.Context, want *admissionregistrationv1.MutatingWebhookConfiguration,
	with *registration.Registration,
) (waits string) {
	empty := rules(want) == 0
	wrote := parseWriter(want.Annotations[writtenBy])
	if !empty && !wrote.yields(u.self, want.Annotations[wantedImage]) {
		return ofAnother
	}
	if waits = u.serves(want); waits != "" {
		return waits
	}
	if empty {
		if waits = u.reached(ctx, want); waits != "" {
			return waits
		}
	}
	for _, w := range ours(want) {
		with.Fill(w)
	}
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[writtenBy] = u.self.String()
	return ""
}

// serves returns what keeps this server from answering calls: its port, or its certificate.
func (u *upkeep) serves(
	want *admissionregistrationv1.MutatingWebhookConfiguration,
) (waits string) {
	if err := u.answers(); err != nil {
		return fmt.Sprintf("the webhook does not serve yet: %v", err)
	}
	leaf, err := u.certificates.get(nil)
	if err != nil {
		return err.Error()
	}
	for _, w := range ours(want) {
		if err := u.verify(leaf, w); err != nil {
			return fmt.Sprintf("webhook %s does not trust the certificate that is served: %v", w.Name, err)
		}
	}
	return ""
}
