// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/config"
)

// labelList returns n names of labels, each after a comma.
func labelList(n int) string {
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, ", l%d", i)
	}
	return list.String()
}

// TestMistakes tests that all mistakes of a file are reported at once, each with the path of its
// field or its line.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{
			"unknown fields",
			"outputs: digest\ncache: {tll: 1s}\nregistries: [{host: ghcr.io, time: 1}]\n",
			[]string{
				"line 3: field outputs is unknown",
				"line 4: field tll is unknown",
				"line 5: field time is unknown",
			},
		},
		{
			"types", "maxInFlightPerNamespace: many\ncache: {ttl: 30}\ntemplates: x\n",
			[]string{"line 3", `"30" is not a duration`, "line 5"},
		},
		{"duplicate key", "output: digest\noutput: digest\n", []string{"already defined"}},
		{"two documents", "---\nkind: Config\n", []string{"more than one document"}},
		{
			"values", "output: sha\nshortNames: quay.io\nmaxInFlightPerNamespace: 0\n" +
				"cache: {size: -1, ttl: 0s, negativeTTL: -1s, staleFor: 1s}\n",
			[]string{
				"output: ", `shortNames: "quay.io": want docker.io or leave`, "maxInFlightPerNamespace: 0",
				"cache.size: -1", "cache.ttl: 0s", "cache.negativeTTL: -1s",
			},
		},
		{
			"staleFor", "cache: {staleFor: 10s}\n",
			[]string{"cache.staleFor: 10s is less than ttl, 30s"},
		},
		{
			"patterns", "exemptImages: [nginx, 'a*b', 'ghcr.io/a/b']\n",
			[]string{"exemptImages[0]: ", "exemptImages[1]: "},
		},
		{
			"owners", "skipOwners: [{owner: a/b/c, users: ['*']}]\n",
			[]string{"skipOwners[0]: owner", "user \"*\""},
		},
		{
			"templates", "templates: [{group: apps, kind: Deployment, paths: [spec]}, {kind: X}, " +
				"{kind: Y, paths: ['a[0]']}, {kind: Y, paths: [a]}]\n",
			[]string{
				"templates[0]: ", "templates[1]: ", "templates[2]: ",
				"templates[3]: the kind is listed twice",
			},
		},
		{
			"images", "templates: [{kind: A, images: ['spec.steps[*]']}, {kind: B, images: [spec.image, spec.image]}, " +
				"{kind: C, images: [metadata.name]}, {kind: D, paths: [], images: []}, " +
				"{kind: E, images: [" + strings.TrimPrefix(labelList(33), ", ") + "]}, " +
				"{kind: F, images: ['spec.']}, {kind: G, images: ['']}]\n",
			[]string{
				`templates[0]: template of A: path "spec.steps[*]": the last step`,
				`templates[1]: template of B: path "spec.image": another path is equal`,
				"templates[2]: template of C: path \"metadata.name\": ",
				"templates[3]: template of D: no path to a pod template or an image",
				"templates[4]: 33 paths and images: want at most 32",
				"templates[5]: template of F: ", "templates[6]: template of G: ",
			},
		},
		{
			"labels", "revisionLabels: [app, app, a/b/c, '', A.b/c, 'a b', " +
				strings.Repeat("x", 64) + "]\n",
			[]string{
				`revisionLabels[1]: "app" is listed twice`, "revisionLabels[2]: ",
				"revisionLabels[3]: ", "revisionLabels[4]: ", "revisionLabels[5]: ",
				"revisionLabels[6]: ",
			},
		},
		{
			"annotations", "refreshAnnotations: [keel.sh/update-time, keel.sh/update-time, a/b/c, '', " +
				"tagpin.dev/refresh, kubectl.kubernetes.io/restartedAt, \"a']\", b, c]\n",
			[]string{
				"refreshAnnotations: 9 annotations", `refreshAnnotations[1]: "keel.sh/update-time" is listed twice`,
				"refreshAnnotations[2]: ", "refreshAnnotations[3]: ",
				`refreshAnnotations[4]: "tagpin.dev/refresh" is tagpin's own`,
				"refreshAnnotations[5]: \"kubectl.kubernetes.io/restartedAt\": see refreshOnRestart",
				"refreshAnnotations[6]: ",
			},
		},
		{
			"too many labels", "revisionLabels: [a" + labelList(16) + "]\n",
			[]string{"revisionLabels: 17 labels"},
		},
		{
			"names of kinds", "templates: [{group: argoproj.io/v1alpha1, kind: Rollout, paths: [a]}, " +
				"{group: A.b, kind: X, paths: [a]}, {group: a..b, kind: X, paths: [a]}, " +
				`{group: a.b, kind: "X'", paths: [a]}, ` +
				"{group: a.b, kind: Rollout.argoproj.io, paths: [a]}, " +
				"{group: c.d, kind: Job, paths: [a]}, {group: c.d, kind: JOB, paths: [a]}, " +
				"{kind: " + strings.Repeat("x", 64) + ", paths: [a]}]\n",
			[]string{
				`templates[0].group: "argoproj.io/v1alpha1" has a version: want argoproj.io`,
				`templates[1].group: "A.b" is not`, `templates[2].group: "a..b" is not`,
				`templates[3].kind: "X'" is not`, `templates[4].kind: "Rollout.argoproj.io" is not`,
				"templates[6]: the kind is listed twice", "templates[7].kind: ",
			},
		},
		{
			"failures", "onFailure: {notFound: ignore, invalid: ''}\n",
			[]string{
				`onFailure.notFound: "ignore": want deny or defer or allow`, "onFailure.invalid",
			},
		},
		{
			"credentials", "credentials: {dockerConfig: x, clouds: [gcp, google, google]}\n",
			[]string{
				"credentials.dockerConfig: ", `credentials.clouds[0]: "gcp"`,
				`credentials.clouds[2]: "google" is listed twice`,
			},
		},
		{
			"hosts", "registries: [{host: ghcr.io}, {host: ghcr.io}, {host: index.docker.io}, " +
				"{host: reg}, {host: 'https://a.b'}, {host: ''}, {host: a.b/c}, {host: docker.io}, " +
				"{host: registry-1.docker.io}, {host: 'ghcr.io:443'}, {host: 'ghcr.io:80'}, " +
				"{host: quay.io}, {host: quay.io, insecure: true}]\n",
			[]string{
				`registries[7].host: "docker.io" is listed twice`, // as index.docker.io
				`registries[8].host: "registry-1.docker.io" is listed twice`,
				`registries[9].host: "ghcr.io:443" is listed twice`,
				`registries[12].host: "quay.io" is listed twice`,
				`registries[1].host: "ghcr.io" is listed twice`, "registries[2].host",
				"registries[3].host", "registries[4].host", "registries[5].host",
				"registries[6].host",
			},
		},
		{
			"one registry in two spellings", "registries: [{host: a.b}, {host: 'a.b:443'}, " +
				"{host: docker.io}, {host: registry-1.docker.io}, " +
				"{host: c.d, insecure: true}, {host: 'c.d:80', insecure: true}, {host: 'c.d:443'}, " +
				"{host: 'e.f:5000'}, {host: 'e.f:5000', insecure: true}]\n",
			[]string{
				`registries[1].host: "a.b:443" is listed twice: registries[0] is the same registry`,
				`registries[3].host: "registry-1.docker.io" is listed twice: registries[2] is`,
				`registries[5].host: "c.d:80" is listed twice: registries[4] is the same registry`,
				`registries[8].host: "e.f:5000" is listed twice: registries[7] is the same registry`,
			},
		},
		{
			"limits", "registries: [{host: ghcr.io, timeout: 0s, maxInFlight: 0, " +
				"requestsPerSecond: .nan}, {host: quay.io, timeout: 1h}]\n",
			[]string{
				"registries[0].timeout: 0s", "registries[0].maxInFlight: 0",
				"registries[0].requestsPerSecond: NaN", "registries[1].timeout: 1h",
			},
		},
		{
			"settings of *", "registries: [{host: '*', insecure: true, caFile: /a, " +
				"clientCertFile: /a, clientKeyFile: /b, authHosts: [a.b], mirrors: [{host: a.b/}]}, {host: '*'}]\n",
			[]string{
				"registries[0].insecure: not for", "registries[0].caFile: not for",
				"registries[0].authHosts", `registries[0].mirrors[0].host: "" is not a path`,
				"registries[0].clientCertFile: not for", "registries[0].clientKeyFile: not for",
				`registries[1].host: "*" is listed twice`,
			},
		},
		{
			"client certificates", "registries: [{host: a.b, clientCertFile: /a}, " +
				"{host: a.c, clientCertFile: a, clientKeyFile: b}, " +
				"{host: a.d, clientCertFile: /a, clientKeyFile: /b, insecure: true}]\n",
			[]string{
				"registries[0].clientCertFile: clientCertFile and clientKeyFile belong together",
				"registries[1].clientCertFile: ", "registries[1].clientKeyFile: ",
				"registries[2].insecure: caFile and clientCertFile can't be used with plain HTTP",
			},
		},
		{
			"connection", "registries: [{host: a.b, insecure: true, caFile: a, " +
				"mirrors: [{host: a.b}, {host: '*'}, {host: m.b/hub/}, {host: 'm.b/hub:1'}, " +
				"{host: m.b/hub}, {host: m.b/hub}, {host: 'a.b:80'}, {host: a.b/c}], authHosts: ['x/y']}]\n",
			[]string{
				"registries[0].caFile: ", "registries[0].insecure: ",
				`mirrors[0].host: "a.b" is the registry itself`, "mirrors[1].host",
				`mirrors[2].host: "hub/" is not a path`, `mirrors[3].host: "hub:1" is not a path`,
				`mirrors[5].host: "m.b/hub" is listed twice`, "authHosts[0]",
				`mirrors[6].host: "a.b:80" is the registry itself`,
			},
		},
		{
			"paths of APIs", "registries: [{host: a.b, mirrors: [{host: m.b/../v2, overridePath: true}, " +
				"{host: m.b/a//b, overridePath: true}, {host: m.b/a/, overridePath: true}, " +
				"{host: 'm.b/a?b', overridePath: true}, {host: m.b/a%2fb, overridePath: true}, " +
				"{host: m.b/, overridePath: true}, {host: mirror/v2, overridePath: true}, " +
				"{host: m.b/Api/docker_remote/v2.0~x, overridePath: true}, {host: m.b, overridePath: true}]}]\n",
			[]string{
				`mirrors[0].host: "../v2" is not a path of an API`, `mirrors[1].host: "a//b"`, `mirrors[2].host: "a/"`,
				`mirrors[3].host: "a?b"`, `mirrors[4].host: "a%2fb"`, `mirrors[5].host: ""`,
				`mirrors[6].host: "mirror" is not a registry host`,
			},
		},
		{
			"rewrites", "registries: [{host: a.b, mirrors: [{host: m.b, rewrites: [{pattern: '('}, {}, " +
				"{pattern: '(a)', replacement: '$1b'}, {pattern: a, replacement: '$1 ${2} $$3'}, " +
				"{pattern: '(a)(?P<x>b)', replacement: '$0 ${1}b $x ${x}y $$1'}]}]}]\n",
			[]string{
				"rewrites[0].pattern: error parsing regexp: missing closing ): `(`",
				"rewrites[1].pattern: want a regular expression",
				`rewrites[2].replacement: the pattern has no group "1b"; before a letter, a digit or _, write ${1}`,
				`rewrites[3].replacement: the pattern has no group "1"`, `rewrites[3].replacement: the pattern has no group "2"`,
			},
		},
		{
			"network", "network: {allow: [10.0.0.1, 10.0.0.1/8], deny: ['::/129', '::ffff:10.0.0.0/104']}\n",
			[]string{
				`network.allow[0]: "10.0.0.1" is not a CIDR`, "want 10.0.0.0/8", "network.deny[0]",
				`network.deny[1]: "::ffff:10.0.0.0/104" is in the form of IPv6; write it as IPv4`,
			},
		},
		{
			"registration", "registration: {name: A_b, pin: [workloads]}\n",
			[]string{
				`registration.name: "A_b" is not`,
				`registration.pin: ["workloads"]: want [workloads, pods]`,
			},
		},
		{
			"fields of the registration", "registration: {defaultMode: keep, excludedNamespaces: [a, A], " +
				"failurePolicy: Ignore, timeoutSeconds: 31}\n",
			[]string{
				`registration.defaultMode: "keep": want enforce or dry-run`,
				`registration.excludedNamespaces[1]: "A" is not a valid name of a namespace`,
				"registration.failurePolicy: Ignore requires registration.pin: [pods]",
				"registration.timeoutSeconds: 31: want 1 to 30",
			},
		},
		{
			"a failure policy that does not exist", "registration: {failurePolicy: fail}\n",
			[]string{`registration.failurePolicy: "fail": want Fail or Ignore`},
		},
		{
			"namespaceSelector", "registration:\n  namespaceSelector:\n" +
				"    matchLabels: {a b: c, a: d e}\n    matchExpressions:\n" +
				"    - {key: a, operator: Is, values: [b]}\n    - {key: a, operator: In}\n" +
				"    - {key: a/b/c, operator: Exists, values: [b]}\n    - {key: a, operator: NotIn, values: [-]}\n",
			[]string{
				`registration.namespaceSelector.matchLabels: "a b" is not a valid name of a label`,
				`registration.namespaceSelector.matchLabels: "d e" is not a valid value of a label`,
				`matchExpressions[0].operator: "Is": want In or NotIn or Exists or DoesNotExist`,
				"matchExpressions[1].values: In requires values",
				`matchExpressions[2]: "a/b/c" is not a valid name of a label`,
				"matchExpressions[2].values: Exists has no values",
				`matchExpressions[3]: "-" is not a valid value of a label`,
			},
		},
		{
			"objectSelector", "registration: {pin: [pods], objectSelector: {matchLabels: {a: b}}}\n",
			[]string{"registration.objectSelector: it selects workloads, and registration.pin is [pods]"},
		},
		{"nothing to pin", "registration: {pin: []}\n", []string{"registration.pin: []: want"}},
		{
			"serving", "certificates: {mode: magic, secret: A_b, service: ''}\n" +
				"observability: {pprof: ':6060', tracing: 'ftp://x'}\n",
			[]string{
				"certificates.mode", "certificates.secret", "certificates.service",
				"observability.pprof", "observability.tracing",
			},
		},
		{
			"lines of values", "x: &x {host: a/b}\nregistries:\n- host: ghcr.io\n  mirrors:\n" +
				"  - host: quay.io\n  - host: ghcr.io\n- timeout: 0s\n  host: quay.io\n- *x\n" +
				"- timeout: 5s\nnetwork: {allow: [10.0.0.0/8,\n  10.1.0.0/8]}\ncache:\n  size: 0\n",
			[]string{
				"line 3: field x is unknown",
				"line 8: registries[0].mirrors[1].host: ",
				"line 9: registries[1].timeout: ",
				"line 3: registries[2].host: ",
				"line 12: registries[3].host: ", // it is missing, so this is where the registry begins
				"line 14: network.allow[1]: ",
				"line 16: cache.size: ",
			},
		},
		{
			"a field that has the name of a value", "credentials: {clouds: [network]}\noutput: cache\n" +
				"cache:\n  size: 0\n",
			[]string{"line 3: credentials.clouds[0]", "line 4: output: ", "line 6: cache.size: 0"},
		},
		{
			"a Service with a dot", "certificates: {service: tagpin.webhook}\n",
			[]string{`certificates.service: "tagpin.webhook" is not`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(head + tt.body))
			if err == nil {
				t.Fatalf("Parse(%q) = nil, want %q", tt.body, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Parse(%q) = %v, want it to name %q", tt.body, err, want)
				}
			}
			if got := len(strings.Split(err.Error(), "\n")); got != len(tt.want) {
				t.Errorf("Parse(%q) names %d mistakes, want %d:\n%v",
					tt.body, got, len(tt.want), err)
			}
		})
	}
}

// TestObservability tests that profiles are only served on loopback addresses, and that an endpoint
// with a secret is refused without repeating the secret.
func TestObservability(t *testing.T) {
	for _, tt := range []struct {
		field, value string
		ok           bool
	}{
		{"pprof", "localhost:6060", true},
		{"pprof", "127.0.0.1:6060", true},
		{"pprof", "[::1]:6060", true},
		{"pprof", ":6060", false},
		{"pprof", "0.0.0.0:6060", false},
		{"pprof", "[::]:6060", false},
		{"pprof", "10.0.0.1:6060", false},
		{"pprof", "localhost.example:6060", false},
		{"pprof", "localhost", false},
		{"pprof", "localhost:0", false},
		{"tracing", "http://collector:4318", true},
		{"tracing", "https://collector.example/otlp/v1/traces", true},
		{"tracing", "grpc://collector:4317", false},
		{"tracing", "collector:4318", false},
		{"tracing", "http://:4318", false},
		{"tracing", "http://user:secret@collector:4318", false},
		{"tracing", "http://collector:4318?token=secret", false},
		{"tracing", "http://collector:4318#secret", false},
	} {
		_, err := config.Parse(fmt.Appendf(nil, "%sobservability: {%s: %q}\n", head, tt.field, tt.value))
		if (err == nil) != tt.ok {
			t.Errorf("Parse(%s: %q) = %v, want ok %t", tt.field, tt.value, err, tt.ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("Parse(%s: %q) = %v, want an error without the secret", tt.field, tt.value, err)
		}
	}
}
