// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

// useSmallPages does nothing: memory limits of cgroups exist on Linux only.
func useSmallPages() error { return nil }
