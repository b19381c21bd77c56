// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// busy returns an answer that limits requests.
func busy(code int, after string) answer {
	return answer{Status: code, Body: "too many " + registrytest.Canary}.With("Retry-After", after)
}

// short is the timeout of a host that hangs.
const short = time.Second

// hangs returns a registry that hangs somewhere.
func hangs(at string) rules {
	return rules{own: {{Then: answer{Header: registrytest.Image.Header, Body: "{", Hang: at}}}}
}

// limitCases are about quotas, and about time.
var limitCases = []odd{
	{name: "R12 no pull left, and none needed", rules: always(right.With("Ratelimit-Remaining", "0;w=21600")), asked: headGet[:1], want: image},
	{name: "R12 no pull left", rules: always(noDigest.With("Ratelimit-Remaining", "0;w=21600")), asked: headGet[:1], class: failure.Unavailable, says: "{registry}: no pull is left"},
	{name: "R12 one pull left", rules: always(noDigest.With("Ratelimit-Remaining", "1;w=21600")), asked: headGet, want: image},
	{name: "R20 429", rules: always(busy(429, "17")), times: 5, asked: headGet[:1], class: failure.Unavailable, says: "{registry}: 429 Too Many Requests a moment ago; not asked again for 17s"},
	{
		name: "R20 429 of the token endpoint", rules: rules{own: {{On: "token", Then: busy(429, "17")}, {Then: challenge}}}, creds: users("u"), times: 5,
		asked: []string{"HEAD app:1", "GET token:app:pull Basic u"}, class: failure.Unavailable, says: "(token): 429 Too Many Requests",
	},
	{name: "R35 never at once again", rules: always(busy(429, "")), times: 3, asked: headGet[:1], class: failure.Unavailable, says: "not asked again for 5s"},
	{name: "N01 hangs before the status", rules: hangs("status"), host: registry.Host{Timeout: short}, asked: headGet[:1], class: failure.Unavailable, says: "{registry}: timed out"},
	{name: "N01 hangs within the header", rules: hangs("header"), host: registry.Host{Timeout: short}, asked: headGet[:1], class: failure.Unavailable, says: "{registry}: timed out"},
	{name: "N01 hangs within the body", rules: hangs("body"), host: registry.Host{Timeout: short, Verify: true}, asked: headGet[1:], class: failure.Unavailable, says: "{registry}: timed out"},
	{
		name: "N01 hangs within the body of an error", host: registry.Host{Verify: true}, asked: headGet[1:], class: failure.NotFound,
		rules: always(answer{Status: http.StatusNotFound, Body: "{", Hang: "body"}),
	},
	{
		name: "N01 the token endpoint hangs", host: registry.Host{Timeout: short}, asked: []string{"HEAD app:1", "GET token:app:pull"}, class: failure.Unavailable, says: "{registry} (token): timed out",
		rules: rules{own: {{On: "token", Then: answer{Hang: "status"}}, {Then: challenge}}},
	},
	{name: "N03 503 for some seconds", rules: always(busy(503, "30")), times: 50, asked: headGet[:1], class: failure.Unavailable, says: "{registry}: 503 Service Unavailable a moment ago; not asked again for 30s"},
	{name: "N03 429 until a date", rules: always(busy(429, "Fri, 31 Dec 9999 23:59:59 GMT")), times: 50, asked: headGet[:1], class: failure.Unavailable, says: "not asked again for 600s"},
	{name: "R42 429 until a Unix time", rules: always(busy(429, fmt.Sprint(time.Now().Unix()+299))), times: 3, asked: headGet[:1], class: failure.Unavailable, says: "not asked again for 2"},
	{name: "N03 another 5xx is no reason to stop", rules: always(answer{Status: 502}), times: 2, asked: []string{"HEAD app:1", "HEAD app:1"}, class: failure.Unavailable, says: "502 Bad Gateway"},
}

// TestOddLimits tests quotas, limits and time.
func TestOddLimits(t *testing.T) { try(t, limitCases) }
