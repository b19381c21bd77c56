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

// errMalformed says no more: a JSON error may quote what it stumbled on, and that may be a password.
var errMalformed = errors.New("malformed Docker config")

// ParseDockerConfig reads a Docker config (config.json, and the secret type kubernetes.io/dockerconfigjson). Malformed
// entries, and those beyond the first 1,024, are counted and left out; an error says that the whole is malformed, and never
// quotes it. Credential helpers are not run: the file is data.
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

// ParseDockercfg reads the older format (.dockercfg, and the secret type kubernetes.io/dockercfg): the entries alone.
func ParseDockercfg(data []byte) (*Keyring, error) {
	if !json.Valid(data) {
		return nil, errMalformed
	}
	return newKeyring(data)
}

// newKeyring reads the entries of a JSON object in the order of their keys: in JSON they have none. The data is well
// formed; nothing of it is kept.
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
	ring.arrange()
	return ring, nil
}

// split takes a JSON object apart, as far as it is to be read; surplus counts what is left. Of a key that is there twice the
// last value counts, as for encoding/json.
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
	var left json.RawMessage
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, 0, errMalformed
		}
		name, _ := key.(string)
		if _, again := auths[name]; len(auths) == maxEntries && !again {
			surplus++
			if err := d.Decode(&left); err != nil {
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

// parseAuth reads one entry: auth, which is stronger, or username and password; identitytoken. Auth
// is given taken apart, so that two spellings of one credential are equal. A registrytoken is not
// used, as the kubelet does not use it: it could be any text, and would be sent in a header as it is.
// A credential of more than MaxCredential is malformed.
func parseAuth(raw json.RawMessage) (authn.AuthConfig, bool) {
	var auth authn.AuthConfig
	if err := json.Unmarshal(raw, &auth); err != nil {
		return authn.AuthConfig{}, false
	}
	auth.Auth, auth.RegistryToken = "", ""
	return auth, Size(auth) <= MaxCredential
}
