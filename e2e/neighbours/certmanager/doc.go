// SPDX-License-Identifier: Apache-2.0

// Package certmanager tests tagpin beside cert-manager. The chart is installed with
// certificates.mode=cert-manager, and cert-manager's controllers issue the certificate of the
// webhook and write the CA into its registration. The tests play the kubelet, which mounts the
// secret.
package certmanager
