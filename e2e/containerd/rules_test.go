// SPDX-License-Identifier: Apache-2.0

//go:build linux

package containerd

const (
	hashed   = "a digest header must be the hash of the body"
	trusted  = "a credential goes to another host only if `authHosts` names it"
	followed = "a GET is not followed to another registry that challenges: it counts against its quota"
)

// rules are the rules by which tagpin does not find what containerd pulls, by the name of the case.
var rules = map[string]string{
	"R12 no pull left":                         "no GET if no pull is left: nodes need the rest",
	"R19 schema 1 on HEAD":                     "schema 1 is refused: what containerd 1.6 makes of it has no digest in the registry",
	"R28 by four hops":                         "3 redirects at most",
	"R37 a realm on another host":              trusted,
	"R39 digest of another body":               hashed,
	"R40 the body names another type of image": "the body must be of the type that its header names",
	"R41 a bomb":                               "a manifest has 4 MiB at most",
	"R41 in another encoding":                  "a body that can't be decoded is refused; containerd takes it as it is",
	"R46 GET is not followed":                  followed,
	"R49 203 of a proxy":                       "only 200 counts",
	"N04 a realm on another port":              trusted,
	"N04 a realm with credentials":             "a realm must not hold credentials",
}
