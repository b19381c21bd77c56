// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
)

// errMalformed says no more: a JSON error may quote what it stumbled on, and that may be a password.
var errMalformed = errors.New("malformed Docker config")

// ParseDockerConfig reads a Docker config (config.json, and the secret type kubernetes.io/dockerconfigjson). Malformed
// entries are counted and left out; an error says that the whole is malformed, and never quotes it. Credential helpers
// are not run: the file is data.
func ParseDockerConfig(data []byte) (*Keyring, error) {
	var config struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, errMalformed
	}
	return newKeyring(config.Auths), nil
}

// ParseDockercfg reads the older format (.dockercfg, and the secret type kubernetes.io/dockercfg): the entries alone.
func ParseDockercfg(data []byte) (*Keyring, error) {
	var auths map[string]json.RawMessage
	if err := json.Unmarshal(data, &auths); err != nil {
		return nil, errMalformed
	}
	return newKeyring(auths), nil
}

// newKeyring reads the entries in the order of their keys: in JSON they have none.
func newKeyring(auths map[string]json.RawMessage) *Keyring {
	ring := &Keyring{}
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		auth, ok := parseAuth(auths[key])
		if !ok {
			ring.malformed++
			continue
		}
		e, ok := newEntry(key, auth)
		if !ok {
			ring.malformed++
			continue
		}
		ring.entries = append(ring.entries, e)
	}
	return ring
}

// parseAuth reads one entry: auth, which is stronger, or username and password; identitytoken; registrytoken. Auth is
// given taken apart, so that two spellings of one credential are equal.
func parseAuth(raw json.RawMessage) (authn.AuthConfig, bool) {
	var auth authn.AuthConfig
	if err := json.Unmarshal(raw, &auth); err != nil {
		return authn.AuthConfig{}, false
	}
	auth.Auth = ""
	return auth, true
}
