// SPDX-License-Identifier: Apache-2.0

// Package certificate provides the webhook's serving certificate (the leaf). It reads the leaf from
// files, or creates it together with its CA and keeps both in a secret that all replicas share.
//
//	secret := &certificate.Secret{
//		Client: core.Secrets(namespace), Name: "tagpin-webhook-tls",
//		DNSName: "tagpin-webhook.tagpin-system.svc", Now: time.Now,
//	}
//	material, err := secret.Renew(ctx, sightings.Settled)
//
// Every replica renews by itself; there is no leader. An update only succeeds for the version of
// the secret that was read. If several replicas find an empty secret, one of them fills it, and the
// others take what it created.
//
// A new CA is introduced in two steps. First it is added to the secret and to the registration,
// next to the former CA, and the former CA's leaf stays in use. When all API servers trust the new
// CA (see Sightings), it signs a new leaf, which each replica takes when it reads the secret. The
// former CA is dropped a day later. So the leaf in the secret is trusted at any time.
//
// No library does this. The rotator of open-policy-agent/cert-controller replaces the CA in the
// secret and in the caBundle at once, and cert-manager's pkg/server/tls signs with a new CA as soon
// as the secret has one, so that API servers refuse the replicas that don't have the new leaf yet,
// or have it too early.
//
// The secret is read by name. It is never listed, watched or created.
package certificate
