// SPDX-License-Identifier: Apache-2.0

package keychain

// Len returns the number of entries that could be read.
func (k *Keyring) Len() int { return len(k.named) + len(k.globs) }
