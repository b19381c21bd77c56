// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"regexp"
	"strings"
)

// Provider is a cloud whose identity tagpin may use.
type Provider string

// The clouds.
const (
	Google Provider = "google"
	Amazon Provider = "amazon"
	Azure  Provider = "azure"
)

// ParseProvider reads google, amazon or azure.
func ParseProvider(s string) (Provider, error) {
	switch p := Provider(s); p {
	case Google, Amazon, Azure:
		return p, nil
	}
	return "", fmt.Errorf("cloud %q: want google, amazon or azure", s)
}

// amazonDomain are the domains of Amazon's partitions, with the dual-stack ones.
const amazonDomain = `(amazonaws\.(com|com\.cn|eu)|on\.(aws|amazonwebservices\.com\.cn)|` +
	`sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)`

// Amazon's public registry, which is one in all regions.
const (
	amazonPublic          = "public.ecr.aws"
	amazonPublicDualStack = "ecr-public.aws.com"
)

// The patterns are anchored: the Azure helper's own is not, and posts a management token to
// x.azurecr.io.attacker.example (golang/vulndb#6276). A port is another server.
var (
	amazonHost = regexp.MustCompile(`^[0-9]{12}\.(dkr[.-]ecr(-fips)?\.[a-z0-9]+(-[a-z0-9]+)+\.` +
		amazonDomain + `)$`)
	azureHost  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?\.azurecr\.(io|cn|us)$`)
	googleHost = regexp.MustCompile(`^([a-z0-9-]+\.)*gcr\.io$|^([a-z0-9-]+\.)+pkg\.dev$`)
)

// Owns tells whether the registry host is the cloud's own.
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

// scope is what one credential is good for.
type scope struct {
	provider Provider
	name     string
}

// scope returns the scope of a host that the cloud owns: for Google all of its registries, for
// Amazon those of one region with one kind of endpoint, for Azure one registry.
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
