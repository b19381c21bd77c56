// SPDX-License-Identifier: Apache-2.0

// Package audit compares what runs in a cluster with what its registries serve.
//
//	c := &audit.Collector{}
//	for _, pod := range pods {
//		c.Add(pod)
//	}
//	auditor := &audit.Auditor{Images: mirrors, Keychain: credentials}
//	report, err := auditor.Report(ctx, c)
//
// A container has one or more states, which State.Meaning explains. It is gone if the registry does
// not have the digest that has run, or the tag of an unpinned image. Registries are not asked about
// an image that is never pulled.
//
// The digest that runs is that of the image, if it has one: the runtime checks the bytes.
// Otherwise it is in the status of the container (imageID), which differs between runtimes:
//
//   - docker-pullable://NAME@DIGEST (Docker) and NAME@DIGEST (containerd, CRI-O) name what was
//     pulled. NAME may be another one than in the pod spec, if the node has the same image under
//     several names. Then the digest is compared with the tag's, but a difference proves nothing.
//   - DIGEST may be that of an index, or that of the manifest of the node's platform. So a tag has
//     drifted only if it lacks one of the manifests that the digest stands for. An index that was
//     pushed again with one more platform or attestation has not drifted.
//   - sha256:ID, or 64 hexadecimal digits, is the digest of the image's config: the image was built
//     or loaded on the node, or the runtime says no more. No registry can be asked for it.
//
// That of an image volume is in the status of a container that mounts it, in the same forms
// (volumeMounts[].volumeStatus.image.imageRef), since Kubernetes 1.35 with the feature gate
// ImageVolumeWithDigest.
//
// Each image is looked up once for each set of credentials that is tried, whatever the number of
// its pods. The package reads no cluster: package cluster does.
package audit
