// SPDX-License-Identifier: Apache-2.0

// Package auth has the protocol by which a registry authorizes a request: it reads the challenge of
// a 401, decides which token endpoint may see a credential, and builds the Authorization header or
// the request for a token. The sources are RFC 9110, section 11, and the token specification of the
// distribution project.
//
// The package sends nothing and remembers nothing; package registry does.
package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/net/http/httpguts"
)

// Identity stands for a credential where something is remembered about it. It is a keyed hash,
// since a credential is too large and too secret to be kept. The zero value is anonymous.
type Identity [sha256.Size]byte

// Identify returns the identity of a credential.
func Identify(key []byte, c authn.AuthConfig) Identity {
	if c == (authn.AuthConfig{}) {
		return Identity{}
	}
	h := hmac.New(sha256.New, key)
	for _, part := range []string{c.Username, c.Password, c.Auth, c.IdentityToken, c.RegistryToken} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // never fails (package hash)
	}
	return Identity(h.Sum(nil))
}

// Header returns the Authorization header that answers a challenge if no token has to be asked for;
// it is empty if the credential has nothing to present. ok is false if a token has to be asked for.
func (c Challenge) Header(a authn.AuthConfig) (header string, ok bool) {
	switch {
	case c.Basic:
		return basic(a), true
	case a.RegistryToken != "":
		return "Bearer " + a.RegistryToken, true
	}
	return "", false
}

func basic(a authn.AuthConfig) string {
	switch {
	case a.Auth != "" && a.Username == "" && a.Password == "":
		return "Basic " + a.Auth
	case a.Username == "" && a.Password == "":
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password))
}

// Sendable reports whether a header can contain the credential. A user name and a password are
// encoded, and an identity token is sent in a form, so that they may contain any byte.
func Sendable(a authn.AuthConfig) bool {
	return httpguts.ValidHeaderFieldValue(a.Auth) && httpguts.ValidHeaderFieldValue(a.RegistryToken)
}
