// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Busy returns an answer that limits requests.
func Busy(code int, after string) Answer {
	return Answer{Status: code, Body: "too many " + Canary}.With("Retry-After", after)
}

// short is the timeout of a host that hangs.
const short = time.Second

// hangs returns a registry that hangs somewhere.
func hangs(at string) Rules {
	return Rules{Registry: {{Then: Answer{Header: Image.Header, Body: "{", Hang: at}}}}
}

// limitCases are about quotas, and about time.
var limitCases = []Case{
	{Name: "R12 no pull left, and none needed", Rules: Always(Image.With("Ratelimit-Remaining", "0;w=21600")), Asked: headGet[:1], Want: ImageBody},
	{Name: "R12 no pull left", Rules: Always(noDigest.With("Ratelimit-Remaining", "0;w=21600")), Asked: headGet[:1], Class: failure.Unavailable, Says: "{registry}: no pull is left"},
	{Name: "R12 one pull left", Rules: Always(noDigest.With("Ratelimit-Remaining", "1;w=21600")), Asked: headGet, Want: ImageBody},
	{Name: "R20 429", Rules: Always(Busy(429, "17")), Times: 5, Asked: headGet[:1], Class: failure.Unavailable, Says: "{registry}: 429 Too Many Requests a moment ago; not asked again for 17s"},
	{
		Name: "R20 429 of the token endpoint", Rules: Rules{Registry: {{On: "token", Then: Busy(429, "17")}, {Then: Challenge}}}, Credentials: Users("u"), Times: 5,
		Asked: []string{"HEAD app:1", "GET token:app:pull Basic u"}, Class: failure.Unavailable, Says: "(token): 429 Too Many Requests",
	},
	{Name: "R35 never at once again", Rules: Always(Busy(429, "")), Times: 3, Asked: headGet[:1], Class: failure.Unavailable, Says: "not asked again for 5s"},
	{Name: "N01 hangs before the status", Rules: hangs("status"), Host: registry.Host{Timeout: short}, Asked: headGet[:1], Class: failure.Unavailable, Says: "{registry}: timed out"},
	{Name: "N01 hangs within the header", Rules: hangs("header"), Host: registry.Host{Timeout: short}, Asked: headGet[:1], Class: failure.Unavailable, Says: "{registry}: timed out"},
	{Name: "N01 hangs within the body", Rules: hangs("body"), Host: registry.Host{Timeout: short, Verify: true}, Asked: headGet[1:], Class: failure.Unavailable, Says: "{registry}: timed out"},
	{
		Name: "N01 hangs within the body of an error", Host: registry.Host{Verify: true}, Asked: headGet[1:], Class: failure.NotFound,
		Rules: Always(Answer{Status: http.StatusNotFound, Body: "{", Hang: "body"}),
	},
	{
		Name: "N01 the token endpoint hangs", Host: registry.Host{Timeout: short}, Asked: []string{"HEAD app:1", "GET token:app:pull"}, Class: failure.Unavailable, Says: "{registry} (token): timed out",
		Rules: Rules{Registry: {{On: "token", Then: Answer{Hang: "status"}}, {Then: Challenge}}},
	},
	{Name: "N03 503 for some seconds", Rules: Always(Busy(503, "30")), Times: 50, Asked: headGet[:1], Class: failure.Unavailable, Says: "{registry}: 503 Service Unavailable a moment ago; not asked again for 30s"},
	{Name: "N03 429 until a date", Rules: Always(Busy(429, "Fri, 31 Dec 9999 23:59:59 GMT")), Times: 50, Asked: headGet[:1], Class: failure.Unavailable, Says: "not asked again for 600s"},
	{Name: "R42 429 until a Unix time", Rules: Always(Busy(429, fmt.Sprint(time.Now().Unix()+299))), Times: 3, Asked: headGet[:1], Class: failure.Unavailable, Says: "not asked again for 2"},
	{Name: "N03 another 5xx is no reason to stop", Rules: Always(Answer{Status: 502}), Times: 2, Asked: []string{"HEAD app:1", "HEAD app:1"}, Class: failure.Unavailable, Says: "502 Bad Gateway"},
}
