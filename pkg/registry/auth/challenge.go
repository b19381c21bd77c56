// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Challenge is how a registry wants a request to be authorized (RFC 9110, section 11.6.1).
type Challenge struct {
	Basic bool // the credential itself; else a token
	// Realm is the address of the token endpoint, and Service a parameter for it.
	Realm, Service string
	// Prefix is what the registry puts before the path of a repository in the scope of a token.
	Prefix string
}

// maxPrefix bounds Prefix: it is a part of a repository's path.
const maxPrefix = 255

// ParseChallenges returns the challenge to answer, or nil if there is none: the first Bearer
// challenge, else the first Basic one. A header may contain several challenges. If repository is
// not empty, the registry may have the repository of that path below another path, and a scope in
// the challenge may say which.
func ParseChallenges(headers []string, repository string) *Challenge {
	var found *Challenge
	for _, h := range headers {
		for h != "" {
			var scheme string
			var params map[string]string
			scheme, params, h = nextChallenge(h)
			switch {
			case strings.EqualFold(scheme, "Bearer") && params["realm"] != "":
				return &Challenge{
					Realm: params["realm"], Service: params["service"],
					Prefix: prefix(params["scope"], repository),
				}
			case strings.EqualFold(scheme, "Basic"):
				found = &Challenge{Basic: true}
			}
		}
	}
	return found
}

// prefix returns what the first scope of a repository whose path ends in the given one has before
// it. Scopes are separated by blanks, and have the form repository:PATH:pull.
func prefix(scopes, repository string) string {
	for scope := range strings.FieldsSeq(scopes) {
		path, ok := strings.CutPrefix(scope, "repository:")
		path, ofRepository := strings.CutSuffix(path[:max(0, strings.LastIndex(path, ":"))], repository)
		below := path == "" || strings.HasSuffix(path, "/")
		if ok && ofRepository && below && repository != "" && len(path) <= maxPrefix {
			return path
		}
	}
	return ""
}

// nextChallenge reads a scheme and its parameters, and returns the rest. Parameters have the form
// name=token or name="quoted string", with commas between them. A name without "=" is the next
// scheme.
func nextChallenge(s string) (scheme string, params map[string]string, rest string) {
	scheme, s = word(strings.TrimLeft(s, " \t,"))
	if scheme == "" && s != "" {
		return "", nil, s[1:] // a character that no name has
	}
	params = map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,")
		name, after := word(s)
		value, ok := strings.CutPrefix(strings.TrimLeft(after, " \t"), "=")
		if name == "" || !ok {
			return scheme, params, s
		}
		var text string
		if text, s, ok = quoted(strings.TrimLeft(value, " \t")); !ok {
			text, s = unquoted(strings.TrimLeft(value, " \t"))
		}
		if _, twice := params[strings.ToLower(name)]; !twice {
			params[strings.ToLower(name)] = text
		}
	}
}

// word reads a token (RFC 9110, section 5.6.2).
func word(s string) (word, rest string) {
	rest = strings.TrimLeftFunc(s, httpguts.IsTokenRune)
	return s[:len(s)-len(rest)], rest
}

// unquoted reads a value to the next comma or blank. Some registries send addresses without quotes.
func unquoted(s string) (text, rest string) {
	rest = strings.TrimLeftFunc(s, func(r rune) bool { return !strings.ContainsRune(" \t,", r) })
	return s[:len(s)-len(rest)], rest
}

// quoted reads a quoted string (RFC 9110, section 5.6.4) and returns the rest.
func quoted(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}
