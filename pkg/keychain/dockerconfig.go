// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/jsonwalk"
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
	ring := &Keyring{Malformed: surplus}
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		auth, ok := parseAuth(auths[key])
		if e, valid := newEntry(key, auth); ok && valid {
			ring.add(e)
		} else {
			ring.Malformed++
		}
	}
	ring.sort()
	return ring, nil
}

// split returns the first maxEntries members of a JSON object. surplus is the number of the others.
// If a key occurs twice, its last value counts, as in encoding/json.
func split(data []byte) (auths map[string]jsontext.Value, surplus int, err error) {
	dec := jsonwalk.NewDecoder(bytes.NewBuffer(data))
	if kind := dec.PeekKind(); kind != '{' && kind != 'n' {
		return nil, 0, errMalformed
	}
	auths = map[string]jsontext.Value{}
	err = jsonwalk.Object(dec, func(name []byte) error {
		if _, again := auths[string(name)]; len(auths) == maxEntries && !again {
			surplus++
			return dec.SkipValue()
		}
		key := string(name)
		from, to, err := jsonwalk.Locate(dec)
		if err == nil {
			auths[key] = jsonwalk.Cut(data, from, to).Clone()
		}
		return err
	})
	if err != nil {
		return nil, 0, errMalformed
	}
	return auths, surplus, nil
}

// parseAuth parses one entry. The field auth has precedence over username and password. It is
// decoded into them, so that two spellings of one credential are equal. A registrytoken is ignored,
// as the kubelet does: it could be any text, which would be sent in a header unchanged. ok is false
// if the entry is malformed or the credential has more than MaxCredential bytes.
func parseAuth(raw jsontext.Value) (auth authn.AuthConfig, ok bool) {
	if err := json.Unmarshal(raw, &auth); err != nil {
		return authn.AuthConfig{}, false
	}
	auth.Auth, auth.RegistryToken = "", ""
	return auth, Size(auth) <= MaxCredential
}
