// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
)

// errMalformed does not wrap the JSON error, which may quote a password.
var errMalformed = errors.New("malformed Docker config")

// ParseDockerConfig parses a Docker config: a config.json, or a secret of the type
// kubernetes.io/dockerconfigjson. Malformed entries, and those after the first 1,024, are counted
// and left out. If the whole config is malformed, the error does not quote it. Credential helpers
// that the config names are not run.
func ParseDockerConfig(data []byte) (*Keyring, error) {
	var config struct {
		Auths json.RawMessage `json:"auths"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, errMalformed
	}
	if config.Auths == nil {
		return &Keyring{}, nil
	}
	return newKeyring(config.Auths)
}

// ParseDockercfg parses the older format: a .dockercfg, or a secret of the type
// kubernetes.io/dockercfg. It has only the entries of a Docker config.
func ParseDockercfg(data []byte) (*Keyring, error) {
	if !json.Valid(data) {
		return nil, errMalformed
	}
	return newKeyring(data)
}

// newKeyring parses the entries of a JSON object, in the order of their keys, because a JSON object
// has no order. data must be valid JSON. The keyring does not keep any part of data.
func newKeyring(data []byte) (*Keyring, error) {
	auths, surplus, err := split(data)
	if err != nil {
		return nil, err
	}
	ring := &Keyring{malformed: surplus}
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
	ring.sort()
	return ring, nil
}

// split returns the first maxEntries members of a JSON object. surplus is the number of the others.
// If a key occurs twice, its last value counts, as in encoding/json.
func split(data []byte) (auths map[string]json.RawMessage, surplus int, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	switch begin, err := d.Token(); {
	case err != nil:
		return nil, 0, errMalformed
	case begin == nil: // null
		return nil, 0, nil
	case begin != json.Delim('{'):
		return nil, 0, errMalformed
	}
	auths = map[string]json.RawMessage{}
	var ignored json.RawMessage
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, 0, errMalformed
		}
		name, _ := key.(string)
		if _, again := auths[name]; len(auths) == maxEntries && !again {
			surplus++
			if err := d.Decode(&ignored); err != nil {
				return nil, 0, errMalformed
			}
			continue
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, 0, errMalformed
		}
		auths[name] = value
	}
	return auths, surplus, nil
}

// parseAuth parses one entry. The field auth has precedence over username and password. It is
// decoded into them, so that two spellings of one credential are equal. A registrytoken is ignored,
// as the kubelet does: it could be any text, which would be sent in a header unchanged. ok is false
// if the entry is malformed or the credential has more than MaxCredential bytes.
func parseAuth(raw json.RawMessage) (auth authn.AuthConfig, ok bool) {
	if err := json.Unmarshal(raw, &auth); err != nil {
		return authn.AuthConfig{}, false
	}
	auth.Auth, auth.RegistryToken = "", ""
	return auth, Size(auth) <= MaxCredential
}
