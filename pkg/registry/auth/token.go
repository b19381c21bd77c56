// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/net/http/httpguts"
)

const (
	// maxAnswer bounds the answer of a token endpoint, which is held until it is complete. Tokens have
	// up to a few KiB, and some endpoints send theirs twice, as token and as access_token.
	maxAnswer = 16 << 10
	// DefaultLifetime is the lifetime of a token if the answer has none.
	DefaultLifetime = 60 * time.Second
	// maxLifetime bounds the lifetime that the answer has.
	maxLifetime = time.Hour
)

// TokenRequest returns a request for a token. It is a GET, as every registry accepts it, but a POST
// for an identity token. It changes the query of realm.
func TokenRequest(
	ctx context.Context, realm *url.URL, service, scope string, a authn.AuthConfig,
) (*http.Request, error) {
	if a.IdentityToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {a.IdentityToken},
			"scope": {scope}, "service": {service}, "client_id": {"tagpin"},
		}
		req, err := http.NewRequestWithContext(
			ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	query := realm.Query()
	query.Set("scope", scope)
	if service != "" {
		query.Set("service", service)
	}
	realm.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if header := basic(a); err == nil && header != "" {
		req.Header.Set("Authorization", header)
	}
	return req, err
}

// ParseToken reads the answer of a token endpoint.
func ParseToken(body io.Reader) (token string, lifetime time.Duration, err error) {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer); err != nil {
		// The error may quote the answer.
		return "", 0, errors.New("its token endpoint's answer is not usable")
	}
	token = cmp.Or(answer.Token, answer.AccessToken)
	if token == "" || !httpguts.ValidHeaderFieldValue(token) {
		return "", 0, errors.New("its token endpoint gave no token")
	}
	if answer.ExpiresIn <= 0 {
		return token, DefaultLifetime, nil
	}
	seconds := min(answer.ExpiresIn, int64(maxLifetime/time.Second))
	return token, time.Duration(seconds) * time.Second, nil
}
