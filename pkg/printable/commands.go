// SPDX-License-Identifier: Apache-2.0

package printable

import "unicode"

// commands finds the characters that would complete the beginning of a command of a pipeline: the
// second colon of :: at the start of a line, and the bracket of ##[ and ##vso[.
type commands struct {
	own bool // lines may begin with colons

	colon  bool // the line has begun with a colon, after spaces
	other  bool // the line has anything else
	hashes int  // the number of the last characters that may begin ##vso[
}

// next reports whether a character, which follows those before, completes a command.
func (c *commands) next(r rune) bool {
	if r == '\n' {
		c.other, c.colon, c.hashes = false, false, 0
		return false
	}
	begins := r == ':' && c.colon && !c.other && !c.own
	bracket := r == '[' && (c.hashes == len("##") || c.hashes == len("##vso"))
	switch {
	case r == ':' && !c.colon:
		c.colon = true
	case c.colon || !unicode.IsSpace(r):
		c.other = true
	}
	const prefix = "##vso"
	switch {
	case c.hashes < len(prefix) && unicode.ToLower(r) == rune(prefix[c.hashes]):
		c.hashes++
	case r == '#' && c.hashes == len("##"):
	case r == '#':
		c.hashes = 1
	default:
		c.hashes = 0
	}
	return begins || bracket
}
