// SPDX-License-Identifier: Apache-2.0

package registry

import "strings"

// challenge is how a registry wants a request to be authorized (RFC 9110, section 11.6.1).
type challenge struct {
	basic          bool
	realm, service string
}

// parseChallenges picks the challenge to meet: Bearer over Basic, the first one of each. A header may hold several. Nil
// where there is neither.
func parseChallenges(headers []string) *challenge {
	var found *challenge
	for _, h := range headers {
		for h != "" {
			var scheme string
			var params map[string]string
			scheme, params, h = nextChallenge(h)
			switch {
			case strings.EqualFold(scheme, "Bearer") && params["realm"] != "":
				return &challenge{realm: params["realm"], service: params["service"]}
			case strings.EqualFold(scheme, "Basic"):
				found = &challenge{basic: true}
			}
		}
	}
	return found
}

// nextChallenge reads a scheme and its parameters, and gives what follows them: name=token or name="quoted string", with
// commas between. A name without "=" is the next scheme.
func nextChallenge(s string) (scheme string, params map[string]string, rest string) {
	scheme, s = word(strings.TrimLeft(s, " \t,"))
	if scheme == "" && s != "" {
		return "", nil, s[1:] // no character of a name
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
			text, s = token68(strings.TrimLeft(value, " \t"))
		}
		if _, twice := params[strings.ToLower(name)]; !twice {
			params[strings.ToLower(name)] = text
		}
	}
}

// word reads a token (RFC 9110, section 5.6.2).
func word(s string) (word, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) })
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// token68 reads what is not quoted, to the next comma or blank: registries send addresses without quotes too.
func token68(s string) (text, rest string) {
	end := strings.IndexAny(s, " \t,")
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// quoted reads a quoted string (RFC 9110, section 5.6.4) and what follows it.
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

// String keeps a realm out of logs: it may hold a query.
func (c challenge) String() string {
	if c.basic {
		return "basic"
	}
	return "bearer"
}
