// SPDX-License-Identifier: Apache-2.0

// Package argocd tests tagpin beside Argo CD: its repo-server reads a Git repository over HTTP, its
// application controller compares and applies what is in it, and its API server runs actions for
// its command line. Redis is Debian's.
package argocd
