// SPDX-License-Identifier: Apache-2.0

package config

import (
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The values of certificates.mode.
const (
	SelfManaged = "self-managed"
	Mounted     = "mounted"
)

// The values of registration.pin.
const (
	Workloads = "workloads"
	Pods      = "pods"
)

// The values of shortNames.
const (
	ShortNamesDockerHub = "docker.io"
	ShortNamesLeave     = "leave"
)

// allHosts is the host whose settings are the defaults of all registries.
const allHosts = "*"

// Default returns a config with the default of each field.
func Default() *Config {
	return &Config{
		APIVersion:       APIVersion,
		Kind:             Kind,
		Output:           string(policy.TagAndDigest),
		ExemptImages:     []string{workload.Placeholder},
		ShortNames:       ShortNamesDockerHub,
		RefreshOnRestart: true,
		OnFailure: OnFailure{
			NotFound: "deny", Unauthorized: "defer", Unavailable: "defer", Invalid: "deny",
		},
		Cache: Cache{
			Size:        resolve.DefaultSize,
			TTL:         Duration(resolve.DefaultTTL),
			NegativeTTL: Duration(resolve.DefaultNegativeTTL),
			StaleFor:    Duration(resolve.DefaultStaleFor),
		},
		Credentials:             Credentials{PullSecrets: true},
		MaxInFlightPerNamespace: resolve.DefaultPerNamespace,
		Registries:              []Registry{defaultRegistry()},
		Registration: Registration{
			Pin: []string{Workloads, Pods}, FailurePolicy: "Fail", TimeoutSeconds: 10,
		},
		Certificates: Certificates{
			Mode: SelfManaged, Secret: "tagpin-webhook-tls", Service: "tagpin-webhook",
		},
	}
}

func defaultRegistry() Registry {
	return Registry{
		Host:              allHosts,
		Timeout:           Duration(registry.DefaultTimeout),
		MaxInFlight:       registry.DefaultMaxInFlight,
		RequestsPerSecond: registry.DefaultRequestsPerSecond,
	}
}
