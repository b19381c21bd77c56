// SPDX-License-Identifier: Apache-2.0

// Package certificates shows that replicas of tagpin make and renew their certificates, and fill in the registration, without
// one failed request: against a real API server, with no more rights than they need.
package certificates
