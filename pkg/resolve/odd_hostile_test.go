// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// atMost is 4 MiB and the size of the buffers of two sockets.
const atMost = 24 << 20

var endless = answer{Header: registrytest.Image.With(digestHeader, "").Header, Body: strings.Repeat("x", 64<<10), Endless: true}

// spelled returns a case of a host with an address that must not be dialled.
func spelled(host string) odd {
	return odd{name: "R38 " + host, image: host + "/app:1", more: []registry.Host{{Name: host}}, class: failure.Invalid, says: "its address is not allowed"}
}

// hostileCases are about registries that do harm on purpose.
var hostileCases = append([]odd{
	{name: "N02 an endless manifest", rules: rules{own: {{On: "HEAD app", Then: noDigest}, {Then: endless}}}, asked: headGet, class: failure.Invalid, says: "manifest larger than 4 MiB", most: atMost},
	{name: "N02 an endless error", rules: always(endless.WithStatus(http.StatusForbidden)), asked: headGet, class: failure.Unauthorized, says: "403", most: atMost},
	{name: "N02 an endless challenge", rules: rules{own: {{As: "u", Then: right}, {Then: endless.WithStatus(http.StatusUnauthorized).With("Www-Authenticate", "Basic")}}}, creds: users("u"), asked: []string{"HEAD app:1", "HEAD app:1 Basic u"}, want: image, most: atMost},
	{name: "N02 an endless token", rules: rules{own: {{On: "token", Then: endless}, {Then: challenge}}}, asked: []string{"HEAD app:1", "GET token:app:pull"}, class: failure.Unavailable, says: "token endpoint's answer is not usable", most: atMost},
	{name: "N02 a token of blanks", rules: rules{own: {{On: "token", Then: answer{Body: strings.Repeat(" ", 64<<10), Endless: true}}, {Then: challenge}}}, asked: []string{"HEAD app:1", "GET token:app:pull"}, class: failure.Unavailable, most: atMost},
	{name: "N02 an endless header", rules: always(answer{Raw: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"}), asked: headGet[:1], class: failure.Unavailable},
	{name: "N02 a token with a line break", rules: rules{own: {{On: "token", Then: answer{Body: `{"token":"a\r\nHost: b"}`}}, {Then: challenge}}}, asked: []string{"HEAD app:1", "GET token:app:pull"}, class: failure.Unavailable, says: "gave no token"},
}, spelled("0.0.0.0:{port}"), spelled("127.0.0.2:{port}"), spelled("[::ffff:7f00:2]:{port}"), spelled("[::1]:{port}"), spelled("[::]:{port}"), spelled("[64:ff9b::7f00:1]:{port}"))

// TestHostile tests registries that do harm on purpose.
func TestHostile(t *testing.T) { try(t, hostileCases) }
