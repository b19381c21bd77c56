// SPDX-License-Identifier: Apache-2.0

// Package policy decides which references of an object are pinned, and gives a reason for each that
// is not.
//
// It compares an object with the object that the request replaces. It asks no registry and changes
// nothing: package pin carries the decisions out.
//
// # Terms
//
// A pin is a reference with a digest: the author's own text, "@" and the digest, such as
// nginx:1.25@sha256:…. If the output is [DigestOnly], the tag is dropped: nginx@sha256:….
//
// An entry is what the annotation tagpin.dev/pins has for a pin that tagpin made or has taken over
// by rule 5 (package annotation): the text and the digest, with the tag whatever the output is. It
// counts only if the container's image still has its digest.
//
// # The rules of pinning
//
// Rule 1 is about the whole object. The others are about one reference, and the first that applies
// decides. Other packages cite them by number.
//
//  1. Skipped objects. An object is left alone if it is being deleted, if it is a mirror pod that a
//     node creates, if it is created by one of the config's skipOwners, or if a controller owns it.
//     The last does not hold for Pods, whose author may have forged the owner reference, nor for
//     Jobs of a CronJob. It does hold for the ReplicaSet of a Deployment, for example: if the two
//     pod templates differed, the Deployment's controller would create ReplicaSets without end.
//
//  2. Refresh. If an update changes a marker of a workload's pod template, or of an object with
//     image fields, then the references without a digest and the pins that tagpin made are
//     resolved again. The markers are the annotations tagpin.dev/refresh and, unless the config
//     says otherwise, kubectl.kubernetes.io/restartedAt, which kubectl rollout restart sets. The
//     config may name further ones, which count as the latter does. For kinds beyond the built-in
//     ones, tagpin.dev/refresh also counts in the object's own metadata. A marker counts if it is
//     not empty, differs from the old object's, and differs from the value that the annotation
//     tagpin.dev/refreshed recorded with the pins. kubectl rollout undo brings back the marker and
//     the record of a revision together, so that the revision runs its own digests. A time that is
//     before the live one comes from an undo too, and does not count. But if the marker is
//     tagpin.dev/refresh, or no time, then an undo to a revision without a record of it is a
//     refresh. Pods and Jobs are never refreshed, a digest that the author wrote is never
//     replaced, and rule 6 still holds. If the lookup fails, a restart keeps the old pin, and a
//     changed tagpin.dev/refresh is denied unless onFailure allows it. The mode keep never
//     refreshes, and dry-run only proposes new pins.
//
//  3. Unchanged. If an update leaves the text of a container, a volume or an image field as it was,
//     the text stays, pinned or not. Otherwise an unrelated edit of a Deployment would roll it out.
//
//  4. Pinned by its author. A text with a digest stays.
//
//  5. Sticky. If an update replaces a pin by the very text that the pin was made for, such as
//     nginx:1.25@sha256:… by nginx:1.25, the old pin is put back without a lookup. A manifest
//     without digests can therefore be applied again, and changes nothing. A pin without an entry
//     was written by somebody else. tagpin takes it over, by an entry, with the next other change
//     of the pod template in the mode enforce. Until then it adds no entry, because that would
//     roll out the template. If the old pin has no tag because the output is [DigestOnly], only its
//     entry says which text it was made for; without an entry, this rule does not apply.
//
//  6. Left alone. A text stays if the kubelet never pulls it (imagePullPolicy: Never), if it is
//     blank, if the kubelet would refuse it, if the config exempts it, or if it names no host and
//     the config leaves such names alone.
//
//  7. Siblings. A Pod that a controller creates takes the digest that the oldest pod of the same
//     revision runs for the same text, even if the tag was moved since: the pods of one revision
//     run one image. If it is not known what these pods run, the lookup fails as unavailable. This
//     rule needs the cluster, and is applied by package sibling.
//
//  8. Resolved. Any other reference is resolved by its registry. If rule 3 or rule 5 keeps a sha256
//     pin of the same text elsewhere in the object, the reference takes that digest without a
//     lookup, so that one object runs one image for one text.
package policy
