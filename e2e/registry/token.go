// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// realm issues the tokens of a registry, by distribution's token specification: all that is asked for to the user, and
// a token without any access to everybody else, as Docker Hub does.
type realm struct {
	host   string
	key    jose.JSONWebKey
	signer jose.Signer
}

const tokenLife = 5 * time.Minute

func newRealm(host string) (*realm, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key := jose.JSONWebKey{Key: private, KeyID: "e2e", Algorithm: string(jose.ES256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		return nil, err
	}
	return &realm{host: host, key: key, signer: signer}, nil
}

// parameters make a registry trust the realm.
func (r *realm) parameters(dir string) (configuration.Parameters, error) {
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{r.key.Public()}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(file, keys, 0o600); err != nil {
		return nil, err
	}
	return configuration.Parameters{
		"realm": "https://" + r.host + "/token", "service": r.host, "issuer": "e2e", "jwks": file,
		"signingalgorithms": []any{string(jose.ES256)},
	}, nil
}

// ServeHTTP answers GET /token?service=…&scope=repository:name:pull.
func (r *realm) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	user, password, given := req.BasicAuth()
	if given && (user != User || password != Password) {
		http.Error(w, "wrong user name or password", http.StatusUnauthorized)
		return
	}
	var access []*token.ResourceActions
	if given {
		access = scopes(req.URL.Query()["scope"])
	}
	now := time.Now()
	signed, err := jwt.Signed(r.signer).Claims(token.ClaimSet{
		Issuer: "e2e", Subject: user, Audience: token.AudienceList{r.host},
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expiration: now.Add(tokenLife).Unix(),
		Access: access,
	}).Serialize()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// An error here is the connection's.
	_ = json.NewEncoder(w).Encode(map[string]any{"token": signed, "expires_in": int(tokenLife.Seconds())})
}

// scopes reads repository:name:pull,push; a name has no colon where no host stands in it.
func scopes(texts []string) []*token.ResourceActions {
	var access []*token.ResourceActions
	for _, text := range strings.Fields(strings.Join(texts, " ")) {
		if parts := strings.Split(text, ":"); len(parts) == 3 {
			access = append(access, &token.ResourceActions{Type: parts[0], Name: parts[1], Actions: strings.Split(parts[2], ",")})
		}
	}
	return access
}
