// SPDX-License-Identifier: Apache-2.0

// Package certificates shows that replicas of tagpin make and renew their certificates and fill in
// the registration without a failed request. It uses a real API server, and the replicas have no
// more permissions than they need.
package certificates
