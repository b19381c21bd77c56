// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// The values of onFailure.
const (
	Deny  = "deny"
	Defer = "defer"
	Allow = "allow"
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

// allHosts is the host whose settings are the defaults of all registries.
const allHosts = "*"

// Default returns a config with the default of each field.
func Default() *Config {
	return &Config{
		APIVersion:       APIVersion,
		Kind:             Kind,
		Output:           "tag-and-digest",
		ExemptImages:     []string{"docker.io/library/auto:latest"},
		RefreshOnRestart: true,
		OnFailure: OnFailure{
			NotFound: Deny, Unauthorized: Defer, Unavailable: Defer, Invalid: Deny,
		},
		Cache: Cache{
			Size: 10000, TTL: seconds(30), NegativeTTL: seconds(5), StaleFor: seconds(3600),
		},
		Credentials:             Credentials{PullSecrets: true},
		MaxInFlightPerNamespace: 64,
		Registries:              []Registry{defaultRegistry()},
		Registration:            Registration{Pin: []string{Workloads, Pods}},
		Certificates: Certificates{
			Mode: SelfManaged, Secret: "tagpin-webhook-tls", Service: "tagpin-webhook",
		},
	}
}

func defaultRegistry() Registry {
	return Registry{Host: allHosts, Timeout: seconds(5), MaxInFlight: 32, RequestsPerSecond: 50}
}

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }
