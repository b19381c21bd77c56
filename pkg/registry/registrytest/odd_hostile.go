// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"net/http"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
)

// atMost is 4 MiB and the size of the buffers of two sockets.
const atMost = 24 << 20

var endless = Answer{Header: Image.With(digestHeader, "").Header, Body: strings.Repeat("x", 64<<10), Endless: true}

// hostileCases are about registries that do harm on purpose.
var hostileCases = []Case{
	{Name: "N02 an endless manifest", Rules: Rules{Registry: {{On: "HEAD app", Then: noDigest}, {Then: endless}}}, Asked: headGet, Class: failure.Invalid, Says: "manifest larger than 4 MiB", Most: atMost},
	{Name: "N02 an endless error", Rules: Always(endless.WithStatus(http.StatusForbidden)), Asked: headGet, Class: failure.Unauthorized, Says: "403", Most: atMost},
	{Name: "N02 an endless challenge", Rules: Rules{Registry: {{As: "u", Then: Image}, {Then: endless.WithStatus(http.StatusUnauthorized).With("Www-Authenticate", "Basic")}}}, Credentials: Users("u"), Asked: []string{"HEAD app:1", "HEAD app:1 Basic u"}, Want: ImageBody, Most: atMost},
	{Name: "N02 an endless token", Rules: Rules{Registry: {{On: "token", Then: endless}, {Then: Challenge}}}, Asked: []string{"HEAD app:1", "GET token:app:pull"}, Class: failure.Unavailable, Says: "token endpoint's answer is not usable", Most: atMost},
	{Name: "N02 a token of blanks", Rules: Rules{Registry: {{On: "token", Then: Answer{Body: strings.Repeat(" ", 64<<10), Endless: true}}, {Then: Challenge}}}, Asked: []string{"HEAD app:1", "GET token:app:pull"}, Class: failure.Unavailable, Most: atMost},
	{Name: "N02 an endless header", Rules: Always(Answer{Raw: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"}), Asked: headGet[:1], Class: failure.Unavailable},
	{Name: "N02 a token with a line break", Rules: Rules{Registry: {{On: "token", Then: Answer{Body: `{"token":"a\r\nHost: b"}`}}, {Then: Challenge}}}, Asked: []string{"HEAD app:1", "GET token:app:pull"}, Class: failure.Unavailable, Says: "gave no token"},
}
