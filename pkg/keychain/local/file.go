// SPDX-License-Identifier: Apache-2.0

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// The names of Docker Hub: in references, where docker login stores its login, and others that
// people write.
const (
	hub      = "docker.io"
	hubLogin = "https://index.docker.io/v1/"
	hubIndex = "index.docker.io"
	hubAPI   = "registry-1.docker.io"
)

// file is what a Source contains.
type file struct {
	name    string
	Auths   map[string]json.RawMessage `json:"auths"`
	Helpers map[string]string          `json:"credHelpers"` // by host
	Store   string                     `json:"credsStore"`
}

// parse reads a source. It returns nil if the file does not exist. The error does not quote the
// content.
func (s Source) parse() (*file, error) {
	data := []byte(s.Text)
	if s.Text == "" {
		var err error
		data, err = os.ReadFile(s.Path)
		switch {
		case s.Variable != "" && err != nil:
			return nil, fmt.Errorf("%s names a file that can't be read: %w", s.Variable, err)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return nil, nil
		case s.Shared && errors.Is(err, fs.ErrPermission):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("logins can't be read: %w", err)
		}
	}
	f := &file{name: s.Path}
	var err error
	if s.Legacy {
		err = json.Unmarshal(data, &f.Auths)
	} else {
		err = json.Unmarshal(data, f)
	}
	if err != nil { // which may quote a part of a password
		return nil, fmt.Errorf("%s: no logins are read from it, since it is not the JSON that docker "+
			"login writes; correct it, or remove it and log in again", s.Path)
	}
	return f, nil
}

// helper returns the question to the helper that credHelpers names for a host. ok is false if
// credHelpers has no entry for the host. An entry with an empty name names no helper: the host's
// login is in the file (getConfiguredCredentialStore in cli/config/configfile of docker/cli).
func (f *file) helper(host string) (q question, ok bool) {
	for _, key := range spellings(host) {
		if name, ok := f.Helpers[key]; ok {
			asked := key
			if key == hubIndex || key == hubAPI {
				asked = hubLogin // where docker login stores it; podman login stores it by its key
			}
			return question{name, asked, f.name}, true
		}
	}
	return question{}, false
}

// store returns the question to the helper of credsStore. ok is false if there is none, or if
// credHelpers has an entry for the host.
func (f *file) store(host string) (q question, ok bool) {
	if _, named := f.helper(host); named || f.Store == "" {
		return question{}, false
	}
	return question{f.Store, server(host), f.name}, true
}

// spellings returns the keys under which a file may have the login for a host. The usual one comes
// first. Keys with a scheme are not among them: see hostOf.
func spellings(host string) []string {
	if isHub(host) {
		return []string{hubLogin, hub, hubIndex, hubAPI}
	}
	return []string{host}
}

func isHub(host string) bool { return host == hub || host == hubIndex || host == hubAPI }

// server returns how the helper of credsStore knows a host.
func server(host string) string {
	if isHub(host) {
		return hubLogin
	}
	return host
}

// below returns the entry for the repository, or else for the longest path above it within the
// host. An empty entry says that no login is to be sent, so it counts as found. It is skipped if
// the helper of credsStore is asked for the host: Docker leaves an empty entry in the file for each
// login that the helper has.
func (f *file) below(r ref.Reference) (auth authn.AuthConfig, found bool, err error) {
	_, stored := f.store(r.Host())
	for path := r.Path(); path != ""; path = parent(path) {
		key := r.Host() + "/" + path
		raw, ok := f.Auths[key]
		if !ok {
			continue
		}
		auth, err := f.decode(key, raw)
		if err != nil || !stored || auth != (authn.AuthConfig{}) {
			return auth, true, err
		}
	}
	return authn.AuthConfig{}, false, nil
}

// parent returns the path above a path, or "".
func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }

// ofHost returns the entry of a host.
func (f *file) ofHost(host string) (authn.AuthConfig, error) {
	for _, key := range spellings(host) {
		if raw, ok := f.Auths[key]; ok {
			return f.decode(key, raw)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.Auths)) {
		if of := hostOf(key); of == host || isHub(of) && isHub(host) {
			return f.decode(key, f.Auths[key])
		}
	}
	return authn.AuthConfig{}, nil
}

// hostOf returns the host of a key with a scheme, such as https://quay.io/v1/, as older versions of
// docker login wrote it. Without a scheme, what follows a slash is a part of repositories' names,
// and the key belongs to these alone.
func hostOf(key string) string {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(key, scheme); ok {
			host, _, _ := strings.Cut(rest, "/")
			return host
		}
	}
	return key
}

// decode reads an entry. The error does not quote it.
func (f *file) decode(key string, raw json.RawMessage) (authn.AuthConfig, error) {
	var auth authn.AuthConfig
	if err := json.Unmarshal(raw, &auth); err != nil || keychain.Size(auth) > keychain.MaxCredential {
		return authn.AuthConfig{}, fmt.Errorf("%s: the login for %s is malformed or too long; log in "+
			"to %s again", f.name, key, key)
	}
	auth.Auth = "" // it was decoded
	auth.Password = strings.Trim(auth.Password, "\x00")
	return auth, nil
}
