// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// maxExplained is the number of pull secrets that Explain describes.
const maxExplained = 4

// explained describes the results of reads that gave no credential.
var explained = map[string]string{
	missing:    "it does not exist",
	forbidden:  "tagpin is not allowed to read it",
	malformed:  "it is malformed, or some of its entries are",
	unsuitable: "it is of no type that pull secrets have, or is empty",
	failed:     "the API server did not answer",
	"":         "it was not read",
}

// Explain returns, for the operator, why pull secrets of the identity gave no credential for an
// image: a sentence for each of the first few. If all is true, it also names those of the first few
// secrets in which nothing is wrong except that they are for other images, and says so if there are
// no secrets. It reads nothing, so it is for a lookup that has failed a moment ago.
func (id *identity) Explain(r ref.Reference, all bool) (reasons []string) {
	c := id.cluster
	if c.Get == nil {
		return nil
	}
	secrets := id.PullSecrets
	if len(secrets) == 0 {
		name := cmp.Or(id.ServiceAccount, "default")
		account, _ := c.known.Get(key{id.namespace, accountKind, name})
		if account.result != readOK {
			return []string{fmt.Sprintf("service account %q: %s", name, explained[account.result])}
		}
		if secrets = account.secrets; len(secrets) == 0 && all {
			return []string{fmt.Sprintf("neither the pod nor its service account %q names a pull secret",
				name)}
		}
	}
	for i, name := range secrets {
		if len(reasons) == maxExplained {
			return append(reasons, fmt.Sprintf("and %d more pull secrets", len(secrets)-i))
		}
		compare := all && i < maxExplained // looking for an entry takes time
		if why := c.explainSecret(key{id.namespace, secretKind, name}, r, compare); why != "" {
			reasons = append(reasons, fmt.Sprintf("pull secret %q: %s", name, why))
		}
	}
	return reasons
}

// explainSecret returns why a pull secret has given no credential, or "" if it has. If compare is
// false, it does not look for an entry that matches the image.
func (c *Cluster) explainSecret(k key, r ref.Reference, compare bool) string {
	secret, _ := c.known.Get(k)
	if !k.valid() {
		return explained[missing] // no object can have this name
	}
	if secret.result != readOK {
		return explained[secret.result]
	}
	if compare {
		if auths, _ := keychain.Lookup(r, secret.ring); len(auths) == 0 {
			return "it has no entry for the image"
		}
	}
	return ""
}
