// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tagpin/tagpin/e2e/pki"
)

// Realm issues the tokens of a registry, as distribution's token specification says. The user gets
// whatever access is asked for, and everybody else gets a token without access, as from Docker Hub
// for private images. The tokens include the certificate of their key, as both distribution v3 and
// version 2.8 accept it.
type Realm struct {
	Password string // the user's; by default Password
	Public   bool   // everybody may pull, as Docker Hub's public images

	service string
	key     any // public
	signer  jose.Signer

	mu     sync.Mutex
	tokens []string
}

const (
	issuer    = "e2e"
	tokenLife = 5 * time.Minute
)

// NewRealm makes the realm of a service. ca signs the certificate of its key.
func NewRealm(ca *pki.CA, service string) (*Realm, error) {
	leaf, err := ca.Issue()
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	if err != nil {
		return nil, err
	}
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{
		"x5c": []string{base64.StdEncoding.EncodeToString(pair.Certificate[0])},
	}}
	signing := jose.SigningKey{Algorithm: jose.ES256, Key: pair.PrivateKey}
	signer, err := jose.NewSigner(signing, options)
	if err != nil {
		return nil, fmt.Errorf("making a token realm: %w", err)
	}
	return &Realm{Password: Password, service: service, key: pair.Leaf.PublicKey, signer: signer}, nil
}

// Parameters returns the parameters of distribution's access controller "token" that make a
// registry trust the realm at url. roots is a file with the CA's certificate.
func (r *Realm) Parameters(url, roots string) map[string]any {
	return map[string]any{
		"realm": url, "service": r.service, "issuer": issuer, "rootcertbundle": roots,
		"signingalgorithms": []any{string(jose.ES256)},
	}
}

// Tokens returns all tokens that the realm has issued.
func (r *Realm) Tokens() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tokens)
}

// Allows reports whether the realm has issued the token, and whether it allows pulling from a
// repository.
func (r *Realm) Allows(text, repository string) bool {
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return false
	}
	var c claims
	if err := parsed.Claims(r.key, &c); err != nil {
		return false
	}
	return slices.ContainsFunc(c.Access, func(a *token.ResourceActions) bool {
		return a.Type == "repository" && a.Name == repository && slices.Contains(a.Actions, "pull")
	})
}

// ServeHTTP answers GET /token?service=…&scope=repository:name:pull.
func (r *Realm) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	user, password, given := req.BasicAuth()
	if given && (user != User || password != r.Password) {
		http.Error(w, "wrong user name or password", http.StatusUnauthorized)
		return
	}
	var access []*token.ResourceActions
	if given || r.Public {
		access = scopes(req.URL.Query()["scope"])
	}
	signed, err := r.sign(user, access)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"token": signed, "expires_in": int(tokenLife.Seconds())}
	_ = json.NewEncoder(w).Encode(answer) // it fails only if the connection does
}

// claims are distribution's claims, except that the audience is a string, because version 2.8
// accepts no list.
type claims struct {
	token.ClaimSet
	Audience string `json:"aud"`
}

func (r *Realm) sign(user string, access []*token.ResourceActions) (string, error) {
	now := time.Now()
	signed, err := jwt.Signed(r.signer).Claims(claims{
		Audience: r.service,
		ClaimSet: token.ClaimSet{
			Issuer: issuer, Subject: user, Access: access,
			IssuedAt: now.Unix(), NotBefore: now.Unix(), Expiration: now.Add(tokenLife).Unix(),
		},
	}).Serialize()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = append(r.tokens, signed)
	return signed, err
}

// scopes parses scopes such as repository:name:pull,push. A name without a host has no colon.
func scopes(texts []string) []*token.ResourceActions {
	var access []*token.ResourceActions
	for _, text := range strings.Fields(strings.Join(texts, " ")) {
		if parts := strings.Split(text, ":"); len(parts) == 3 {
			access = append(access, &token.ResourceActions{
				Type: parts[0], Name: parts[1], Actions: strings.Split(parts[2], ","),
			})
		}
	}
	return access
}
