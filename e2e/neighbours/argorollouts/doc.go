// SPDX-License-Identifier: Apache-2.0

// Package argorollouts tests tagpin beside Argo Rollouts: its controller runs Rollouts, and its
// plugin of kubectl promotes, aborts, restarts and undoes them.
package argorollouts
