// SPDX-License-Identifier: Apache-2.0

// Package resolve turns a tag into a digest.
//
// A Resolver answers one request. Each layer is a small type that wraps another Resolver:
//
//	Measured → Mirrors → Credentials → Cache → Limit → Registry
//
// The package does not decide whether to pin, or what happens to an object whose lookup failed. It
// only returns the class of the failure (package failure). These are the rules, which comments cite
// by number. Package registry follows the first five.
//
//  1. HEAD. A HEAD request for the tag, with all media types of indexes and manifests in Accept, is
//     enough if the answer is 200, has one of those media types, and has one well-formed sha256
//     Docker-Content-Digest.
//  2. GET and hash. Otherwise, and where the registry refuses HEAD, one GET follows, and the digest
//     is the hash of exactly the manifest's bytes. If the answer has a digest header that differs,
//     that is an error. No GET follows 401, 429 or a server error other than 501, since GETs count
//     against pull quotas. Schema 1 manifests are refused.
//  3. Indexes. A tag that names an index or manifest list is pinned to the index, so that every
//     platform still runs.
//  4. Credentials. The candidates are tried in the order of the kubelet, at most
//     keychain.MaxCandidates of them, and then none, until one is accepted. A 404 with a credential
//     is confirmed by the next one, since some registries hide by 404 what a credential may not
//     see. A failure with a shared credential is reported as unauthorized, unless it is
//     unavailable: a tenant learns nothing about what is behind it.
//  5. Unread credentials. If a pull secret could not be read, an image that is not found or not
//     allowed without it is unavailable: another attempt may succeed.
//  6. Cache. An answer belongs to the canonical reference and the exact list of candidates, so that
//     a digest is never told to a caller without the credential. A cloud's credential counts by
//     where it comes from: it is renewed often, and all have it. Concurrent lookups of the same key
//     are one lookup, which outlives its callers once it was sent. It may have to wait for another
//     turn of its namespace after that: for a second request, at another host, or for room for a
//     large manifest. If that takes longer than 100 ms, another namespace that has its turn asks
//     too, and the first answer is for all.
//  7. Freshness. A deploy asks the registry, or joins a lookup that has not been sent yet: what was
//     just pushed is what is deployed. Pods that a controller makes may use an answer that is up to
//     TTL old, and failures that are up to NegativeTTL old. For this rule and the next
//     one, the first pod of a revision is a deploy. But it may get a remembered failure and, if its
//     controller did not wait for the answer (pin.Patience), that answer for up to TTL. The pods
//     after it run what it runs, without a lookup.
//  8. Outages. If a lookup is unavailable, because the registry is unreachable or slow, limits
//     requests or fails, pods that a controller makes may use an answer that is up to StaleFor old,
//     which the metrics count as stale. A 401, 403 or 404 is an answer. A lookup that ends without
//     an answer, because it got no turn or the time for the review was over, says nothing about its
//     registry by itself: it is an outage if the registry was asked and answered nobody for most of
//     that time (registry.Client.Silence), or for 5 s if the controller did not wait. If a
//     credential could not be read and the others are refused, that is an outage too (rule 5).
//  9. Mirrors are asked first, each by its own settings and with the credentials of its own host. A
//     mirror gets the registry's name (?ns=), and what it answers for one registry says nothing
//     about another, except refused logins, which count for the mirror's host. The pin keeps the
//     host that the user wrote. If no mirror has an answer, the registry's own error counts. But if
//     the network's rules keep tagpin from asking the registry, or the registry answers 401 or 403
//     and a mirror is unavailable, then the mirrors' errors count, and their old answers.
package resolve
