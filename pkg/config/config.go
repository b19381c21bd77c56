// SPDX-License-Identifier: Apache-2.0

// Package config parses the config file, validates it, and loads it again when it changes.
//
//	apiVersion: tagpin.dev/v1alpha1
//	kind: Config
//	onFailure: {unavailable: allow}
//	registries:
//	- host: registry.internal:5000
//	  caFile: /etc/tagpin/ca.crt
//
// Every field but the first two has a default. Unknown fields and invalid values are errors, so
// that a misspelled field is not replaced by its default, and all errors are reported at once. The
// package starts nothing that the file configures.
package config

// The identity of the file's format.
const (
	APIVersion = "tagpin.dev/v1alpha1"
	Kind       = "Config"
)

// Config is the config file. Default returns one with its defaults; the zero value is not valid. A
// Config is not changed after it was parsed.
type Config struct {
	// APIVersion is `tagpin.dev/v1alpha1`. Required.
	APIVersion string `yaml:"apiVersion"`
	// Kind is `Config`. Required.
	Kind string `yaml:"kind"`

	// Output is how a pin is written: `tag-and-digest` (`nginx:1.25@sha256:…`) or `digest`
	// (`nginx@sha256:…`). Default: `tag-and-digest`.
	Output string `yaml:"output"`
	// ExemptImages are images to leave alone, by canonical name: `docker.io/library/*`,
	// `ghcr.io/a/b` for every tag, `ghcr.io/a/b:1.2`. Default: `docker.io/library/auto:latest`,
	// Istio's placeholder. That pattern only counts in pod templates, because Istio's injector
	// replaces the placeholder in each Pod. A Pod that still has it is denied. To leave it alone in
	// Pods too, write `docker.io/library/auto`.
	ExemptImages []string `yaml:"exemptImages"`
	// SkipOwners are operators that compare the image text of their pods, and would delete pinned
	// pods again and again. Default: none.
	SkipOwners []SkipOwner `yaml:"skipOwners"`
	// Templates are kinds beyond the built-in ones, and the paths of their pod templates. Default:
	// none.
	Templates []Template `yaml:"templates"`
	// RevisionLabels are names of pod labels whose value identifies a revision of a controller, for
	// controllers whose pods have no such label of Kubernetes or Argo Rollouts:
	// `spark-app-selector`, `ray.io/cluster`. Pods that have the same controller and the same value
	// run the same digest, as long as one of them exists. At most 16. Default: none.
	RevisionLabels []string `yaml:"revisionLabels"`
	// RefreshOnRestart makes `kubectl rollout restart` resolve the pins that tagpin made again.
	// Default: `true`.
	RefreshOnRestart bool `yaml:"refreshOnRestart"`
	// RefreshAnnotations are names of further annotations of pod templates by which tools restart a
	// workload, such as `keel.sh/update-time`. A new value resolves the pins again, as `kubectl
	// rollout restart` does. At most 8. Default: none.
	RefreshAnnotations []string `yaml:"refreshAnnotations"`
	// OnFailure says what happens to an object if a lookup fails. A restart always keeps the digest
	// that the workload has. A changed `tagpin.dev/refresh` is denied unless the value is `allow`.
	OnFailure OnFailure `yaml:"onFailure"`
	// Cache says how long the answers of registries are remembered.
	Cache Cache `yaml:"cache"`
	// Credentials says where credentials for registries come from.
	Credentials Credentials `yaml:"credentials"`
	// MaxInFlightPerNamespace limits the concurrent lookups of one namespace. Default: `64`.
	MaxInFlightPerNamespace int `yaml:"maxInFlightPerNamespace"`
	// Registries are the settings of registries. The host `*` has those that the others don't set.
	// Default: `*` with its defaults.
	Registries []Registry `yaml:"registries"`
	// Network says which addresses tagpin may connect to.
	Network Network `yaml:"network"`
	// Registration says which requests the API server sends to the webhook, if tagpin is to
	// register it.
	Registration Registration `yaml:"registration"`
	// Certificates says where the serving certificate comes from. It is read at the start: a change
	// needs a restart.
	Certificates Certificates `yaml:"certificates"`
	// Observability switches tracing and profiling on. It is read at the start: a change needs a
	// restart.
	Observability Observability `yaml:"observability"`
}

// SkipOwner is a controller whose objects are left alone when it creates them.
type SkipOwner struct {
	// Owner is the owner's group and kind: `postgresql.cnpg.io/Cluster`. Required.
	Owner string `yaml:"owner"`
	// Users are the users that create its objects, as names or as prefixes that end in `*`:
	// `system:serviceaccount:cnpg-system:*`. Anybody may write an owner reference, so at least one
	// is required.
	Users []string `yaml:"users"`
}

// Template is a kind that has pod templates.
type Template struct {
	// Group is the API group of the kind: `argoproj.io`. Default: the core group.
	Group string `yaml:"group"`
	// Kind is the kind: `Rollout`. Required.
	Kind string `yaml:"kind"`
	// Resource is the kind's name in URLs, for the webhook's registration. Default: the plural of
	// the kind in lower case.
	Resource string `yaml:"resource"`
	// Paths are the paths of its pod templates, with `[*]` for each element of a list:
	// `spec.template`, `spec.replicatedJobs[*].template.spec.template`. At least one is required.
	Paths []string `yaml:"paths"`
}

// OnFailure says for each class of failed lookups what happens to the object: `deny`; `defer` (a
// workload is admitted as it is, and its pods are denied until the image resolves); or `allow` (the
// object is admitted without the pin).
type OnFailure struct {
	// NotFound is for an image that the registry does not have. Default: `deny`.
	NotFound string `yaml:"notFound"`
	// Unauthorized is for a registry that accepts none of the credentials. Default: `defer`.
	Unauthorized string `yaml:"unauthorized"`
	// Unavailable is for a registry that can't be reached, limits the rate, times out or fails.
	// Default: `defer`.
	Unavailable string `yaml:"unavailable"`
	// Invalid is for an answer of the registry that can't be used. Default: `deny`.
	Invalid string `yaml:"invalid"`
}

// Cache limits what is remembered of the answers of registries. Requests that deploy something are
// never answered from it.
type Cache struct {
	// Size is the number of answers. Default: `10000`.
	Size int `yaml:"size"`
	// TTL is how old an answer may be that a controller's pods get. Default: `30s`.
	TTL Duration `yaml:"ttl"`
	// NegativeTTL is how old a failure may be that a controller's pods get. Default: `5s`.
	NegativeTTL Duration `yaml:"negativeTTL"`
	// StaleFor is how old an answer may be that a controller's pods get while the registry can't be
	// reached. It is at least `ttl`. Default: `1h`.
	StaleFor Duration `yaml:"staleFor"`
}

// Credentials are the sources of credentials, in the order in which they are tried.
type Credentials struct {
	// PullSecrets uses the pull secrets of pods and service accounts. Default: `true`.
	PullSecrets bool `yaml:"pullSecrets"`
	// DockerConfig is the path of a mounted Docker config that all namespaces share. Default: none.
	DockerConfig string `yaml:"dockerConfig"`
	// Clouds are the clouds whose ambient identity is used at their own registries: `google`,
	// `amazon`, `azure`. Default: none.
	Clouds []string `yaml:"clouds"`
}

// Registry has the settings of one registry. A field that is not set has the value of the host `*`.
type Registry struct {
	// Host is the registry as in a canonical reference: `docker.io`, `registry.internal:5000`; or
	// `*`. Required.
	Host string `yaml:"host"`
	// Timeout is the time limit of one request. Default: `5s`.
	Timeout Duration `yaml:"timeout"`
	// MaxInFlight limits the concurrent requests. One namespace has at most half of them. Default:
	// `32`.
	MaxInFlight int `yaml:"maxInFlight"`
	// RequestsPerSecond limits the rate of requests for manifests, and is also the size of a burst. A
	// request for a token, and repeating a request with that token, are not counted. Default: `50`.
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`
	// Verify fetches each manifest and hashes it, instead of trusting the digest in the registry's
	// answer. Default: `false`.
	Verify bool `yaml:"verify"`
	// Mirrors are asked first, with the credentials of their own host. The pin keeps the author's
	// host. Default: none. Not for `*`.
	Mirrors []Mirror `yaml:"mirrors"`
	// CAFile is a file of PEM certificates that are trusted as well as the system's. Default: none.
	// Not for `*`.
	CAFile string `yaml:"caFile"`
	// ClientCertFile is a PEM file with the certificate that the registry wants from its clients. It
	// is shown to no other host. Default: none. Not for `*`.
	ClientCertFile string `yaml:"clientCertFile"`
	// ClientKeyFile is a PEM file with the key of that certificate. Default: none. Not for `*`.
	ClientKeyFile string `yaml:"clientKeyFile"`
	// Insecure uses plain HTTP. Default: `false`. Not for `*`.
	Insecure bool `yaml:"insecure"`
	// AuthHosts are other hosts that may issue its tokens, and that get its credentials. Default:
	// none. Not for `*`.
	AuthHosts []string `yaml:"authHosts"`
}

// Mirror is another host that serves a registry's images.
type Mirror struct {
	// Host is the mirror's host and, if it has the registry's repositories below a path, that path:
	// `mirror.internal:5000`, `harbor.internal/docker-hub`. Its own settings, such as a `caFile`,
	// belong to an entry of `registries` for its host. Required.
	Host string `yaml:"host"`
	// Resolve asks the mirror for the digests of tags too. A mirror may have older ones than the
	// registry; with `verify` its answer only counts if the registry gives the same. Without
	// resolve, the mirror is only asked for images with a digest. Default: `false`.
	Resolve bool `yaml:"resolve"`
}

// Network adds to the built-in rules, which refuse loopback, link-local and metadata addresses.
type Network struct {
	// Allow are CIDRs that tagpin may connect to, whatever the built-in rules say. Default: none.
	Allow []string `yaml:"allow"`
	// Deny are CIDRs that tagpin may not connect to, whatever `allow` says. Default: none.
	Deny []string `yaml:"deny"`
}

// Registration is the MutatingWebhookConfiguration that the server fills in.
type Registration struct {
	// Name is the name of the MutatingWebhookConfiguration. A server that serves with a certificate
	// that the `caBundle` there verifies sets the rules and the match conditions, also those of
	// `templates`. Before the first rules, it waits for up to a minute until it reaches its own
	// Service. It is read at the start. Default: none, and nothing is set.
	Name string `yaml:"name"`
	// Pin is what to pin: `workloads` and `pods`, or `pods` alone. Default: `[workloads, pods]`.
	Pin []string `yaml:"pin"`
}

// Certificates says where the serving certificate comes from. It is read at the start.
type Certificates struct {
	// Mode is `self-managed` (tagpin creates and renews the certificate and its CA, and puts the CA
	// into the registration that `registration.name` names) or `mounted` (the files of
	// `--cert-dir`). Default: `self-managed`.
	Mode string `yaml:"mode"`
	// Secret is the name of the Secret that holds a self-managed certificate. The Secret has to
	// exist, and may be empty. Default: `tagpin-webhook-tls`.
	Secret string `yaml:"secret"`
	// Service is the name of the Service that a self-managed certificate is for. Default:
	// `tagpin-webhook`.
	Service string `yaml:"service"`
}

// Observability has the settings of tracing and profiling. It is read at the start.
type Observability struct {
	// Tracing is the OTLP endpoint that spans are sent to, over HTTP: `http://collector:4318`, or
	// the whole URL if the path is not `/v1/traces`. Default: none, and tracing is off.
	Tracing string `yaml:"tracing"`
	// Pprof is a loopback address that Go profiles are served on: `localhost:6060`. Default: none,
	// and profiling is off.
	Pprof string `yaml:"pprof"`
}
