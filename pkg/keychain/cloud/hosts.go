// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"regexp"
	"strings"
)

// Provider is a cloud whose machine identity tagpin may use.
type Provider string

// The clouds.
const (
	Google Provider = "google"
	Amazon Provider = "amazon"
	Azure  Provider = "azure"
)

// amazonDomain matches the domains of Amazon's partitions, including the dual-stack ones.
const amazonDomain = `(amazonaws\.(com|com\.cn|eu)|on\.(aws|amazonwebservices\.com\.cn)|` +
	`sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)`

// The hosts of Amazon's public registry, which is the same in all regions.
const (
	amazonPublic          = "public.ecr.aws"
	amazonPublicDualStack = "ecr-public.aws.com"
)

// The patterns are anchored. The Azure helper's own pattern is not: it sends a management token to
// x.azurecr.io.attacker.example (golang/vulndb#6276). A host with a port matches none of them,
// because it is another server.
var (
	amazonHost = regexp.MustCompile(`^[0-9]{12}\.(dkr[.-]ecr(-fips)?\.[a-z0-9]+(-[a-z0-9]+)+\.` +
		amazonDomain + `)$`)
	azureHost  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?\.azurecr\.(io|cn|us)$`)
	googleHost = regexp.MustCompile(`^([a-z0-9-]+\.)*gcr\.io$|^([a-z0-9-]+\.)+pkg\.dev$`)
)

// Owns reports whether a host is one of the cloud's registries.
func (p Provider) Owns(host string) bool {
	if len(host) > 253 || strings.ContainsAny(host, ":/@") {
		return false
	}
	switch p {
	case Google:
		return googleHost.MatchString(host)
	case Amazon:
		return host == amazonPublic || host == amazonPublicDualStack || amazonHost.MatchString(host)
	case Azure:
		return azureHost.MatchString(host)
	}
	return false
}

// scope is the set of registries that one credential is valid for.
type scope struct {
	provider Provider
	name     string
}

// scope returns the scope of a host that the cloud owns. For Google, it is all of Google's
// registries. For Amazon, it is the registries of one region with one kind of endpoint. For Azure,
// it is one registry.
func (p Provider) scope(host string) scope {
	switch p {
	case Google:
		return scope{p, ""}
	case Amazon:
		if m := amazonHost.FindStringSubmatch(host); m != nil {
			return scope{p, m[1]}
		}
		return scope{p, amazonPublic}
	}
	return scope{p, host}
}
