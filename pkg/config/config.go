// SPDX-License-Identifier: Apache-2.0

// Package config is the config file: its fields, their defaults, what is wrong with them, and its reload.
//
//	apiVersion: tagpin.dev/v1alpha1
//	kind: Config
//	onFailure: {unavailable: allow}
//	registries:
//	- host: registry.internal:5000
//	  caFile: /etc/tagpin/ca.crt
//
// Every field but the first two has a default. Unknown fields and bad values are refused, all named at once, so that a
// typing error never becomes a default. The package starts nothing that the file configures.
package config

// The identity of the file's format.
const (
	APIVersion = "tagpin.dev/v1alpha1"
	Kind       = "Config"
)

// Config is the config file. Default makes it with its defaults; the zero value is not valid. What it holds is not
// changed after it was parsed.
type Config struct {
	// APIVersion is `tagpin.dev/v1alpha1`. Required.
	APIVersion string `yaml:"apiVersion"`
	// Kind is `Config`. Required.
	Kind string `yaml:"kind"`

	// Output is how a pin is written: `tag-and-digest` (`nginx:1.25@sha256:…`) or `digest` (`nginx@sha256:…`).
	// Default: `tag-and-digest`.
	Output string `yaml:"output"`
	// ExemptImages are images to leave alone, by canonical name: `docker.io/library/*`, `ghcr.io/a/b`
	// for every tag, `ghcr.io/a/b:1.2`. Default: `docker.io/library/auto:latest`, Istio's placeholder.
	// That name counts in pod templates alone, since Istio's injector replaces it in each Pod; a Pod
	// that still has it is denied. To leave it alone in Pods too, write `docker.io/library/auto`.
	ExemptImages []string `yaml:"exemptImages"`
	// SkipOwners are operators that compare the image text of their pods and would delete pinned ones for ever.
	// Default: none.
	SkipOwners []SkipOwner `yaml:"skipOwners"`
	// Templates are kinds beyond the built-in ones, and where their pod templates are. Default: none.
	Templates []Template `yaml:"templates"`
	// RevisionLabels are names of labels that tell the revisions of a controller apart, for
	// controllers whose pods have none of Kubernetes' own and Argo Rollouts' labels: pods with the
	// same controller and the same value run one digest, as long as one of them is there.
	// `spark-app-selector`, `ray.io/cluster`. At most 16. Default: none.
	RevisionLabels []string `yaml:"revisionLabels"`
	// RefreshOnRestart makes `kubectl rollout restart` resolve the pins that tagpin made anew. Default: `true`.
	RefreshOnRestart bool `yaml:"refreshOnRestart"`
	// OnFailure says what becomes of an object whose look-up failed. Whatever it says, a restart
	// keeps the digest that the workload has. A changed `tagpin.dev/refresh` is denied unless it
	// says `allow`.
	OnFailure OnFailure `yaml:"onFailure"`
	// Cache says how long answers of registries are remembered.
	Cache Cache `yaml:"cache"`
	// Credentials says where credentials for registries come from.
	Credentials Credentials `yaml:"credentials"`
	// MaxInFlightPerNamespace bounds the look-ups of one namespace at a time. Default: `64`.
	MaxInFlightPerNamespace int `yaml:"maxInFlightPerNamespace"`
	// Registries are settings of single registries; the host `*` holds those that the others don't set. Default: `*` with
	// its defaults.
	Registries []Registry `yaml:"registries"`
	// Network says which addresses may be connected to.
	Network Network `yaml:"network"`
	// Registration says what the webhook is called for, where the server is to see to that.
	Registration Registration `yaml:"registration"`
	// Certificates says who makes the serving certificate.
	Certificates Certificates `yaml:"certificates"`
	// Observability switches tracing and profiling on, at the start: a change of it takes a restart.
	Observability Observability `yaml:"observability"`
}

// SkipOwner is a controller whose pods are left alone when it creates them.
type SkipOwner struct {
	// Owner is the owner's group and kind: `postgresql.cnpg.io/Cluster`. Required.
	Owner string `yaml:"owner"`
	// Users are those who create its pods, exactly or with a `*` at the end:
	// `system:serviceaccount:cnpg-system:*`. Anybody may write an owner reference, so at least one is required.
	Users []string `yaml:"users"`
}

// Template is a kind that has pod templates.
type Template struct {
	// Group is the API group of the kind: `argoproj.io`. Default: the core group.
	Group string `yaml:"group"`
	// Kind is the kind: `Rollout`. Required.
	Kind string `yaml:"kind"`
	// Resource is the kind's name in URLs, for the webhook's registration. Default: the kind in small letters, in the plural.
	Resource string `yaml:"resource"`
	// Paths lead to its pod templates, with `[*]` for each element of a list: `spec.template`,
	// `spec.replicatedJobs[*].template.spec.template`. At least one is required.
	Paths []string `yaml:"paths"`
}

// OnFailure is a policy for each class of failed look-up: `deny`; `defer` (a workload is admitted as it is, and its pods
// are denied until they resolve); or `allow`.
type OnFailure struct {
	// NotFound: the registry has no such image. Default: `deny`.
	NotFound string `yaml:"notFound"`
	// Unauthorized: no credential was accepted. Default: `defer`.
	Unauthorized string `yaml:"unauthorized"`
	// Unavailable: the registry can't be reached, limits us, timed out or failed. Default: `defer`.
	Unavailable string `yaml:"unavailable"`
	// Invalid: the registry's answer can't be used. Default: `deny`.
	Invalid string `yaml:"invalid"`
}

// Cache bounds what is remembered of registries' answers. Who deploys is never answered from it.
type Cache struct {
	// Size is the number of answers. Default: `10000`.
	Size int `yaml:"size"`
	// TTL is how old an answer may be for the pods of a controller. Default: `30s`.
	TTL Duration `yaml:"ttl"`
	// NegativeTTL is the same for failures. Default: `5s`.
	NegativeTTL Duration `yaml:"negativeTTL"`
	// StaleFor is the same while the registry can't be reached; not less than `ttl`. Default: `1h`.
	StaleFor Duration `yaml:"staleFor"`
}

// Credentials are the sources of credentials, in the order in which they are tried.
type Credentials struct {
	// PullSecrets reads the pull secrets of pods and service accounts. Default: `true`.
	PullSecrets bool `yaml:"pullSecrets"`
	// DockerConfig is the path of a mounted Docker config that all namespaces share. Default: none.
	DockerConfig string `yaml:"dockerConfig"`
	// Clouds are those whose ambient identity is used at their own registries: `google`, `amazon`, `azure`.
	// Default: none.
	Clouds []string `yaml:"clouds"`
}

// Registry is what is known of one registry. A field that is not set is as that of the host `*`.
type Registry struct {
	// Host is the registry as in a canonical reference: `docker.io`, `registry.internal:5000`; or `*`. Required.
	Host string `yaml:"host"`
	// Timeout of one request. Default: `5s`.
	Timeout Duration `yaml:"timeout"`
	// MaxInFlight bounds the requests at a time, of which one namespace has at most half. Default: `32`.
	MaxInFlight int `yaml:"maxInFlight"`
	// RequestsPerSecond bounds the rate of requests for manifests, with as many at once after a pause. Default: `50`.
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`
	// Verify gets each manifest and hashes it, instead of taking the registry's word. Default: `false`.
	Verify bool `yaml:"verify"`
	// Mirrors are asked first, with the credentials of their own host; the pin keeps the author's host. Default: none.
	// Not for `*`.
	Mirrors []Mirror `yaml:"mirrors"`
	// CAFile holds PEM certificates to trust beside the system's. Default: none. Not for `*`.
	CAFile string `yaml:"caFile"`
	// Insecure speaks plain HTTP. Default: `false`. Not for `*`.
	Insecure bool `yaml:"insecure"`
	// AuthHosts are other hosts that may be the realm of its tokens, and get its credentials. Default: none. Not for `*`.
	AuthHosts []string `yaml:"authHosts"`
}

// Mirror is another host that serves a registry's images.
type Mirror struct {
	// Host of the mirror, and where it has the registry's repositories below a path, that path: `mirror.internal:5000`,
	// `harbor.internal/docker-hub`. Settings of its own, such as a `caFile`, stand in an entry for its host. Required.
	Host string `yaml:"host"`
	// Resolve asks it for the digests of tags too, which a mirror may have older ones of; with `verify` its answer counts only
	// if the registry itself gives the same. Default: `false`: then only what has a digest is asked for.
	Resolve bool `yaml:"resolve"`
}

// Network adds to the built-in rules, by which loopback, link-local and metadata addresses are refused.
type Network struct {
	// Allow are CIDRs that may be connected to, whatever the built-in rules say. Default: none.
	Allow []string `yaml:"allow"`
	// Deny are CIDRs that may not, whatever Allow says. Default: none.
	Deny []string `yaml:"deny"`
}

// Registration is the MutatingWebhookConfiguration that a server fills in.
type Registration struct {
	// Name is that of the MutatingWebhookConfiguration. Once a server was reached through its Service,
	// with a certificate that the `caBundle` there verifies, it puts in the rules and the conditions,
	// also those of `templates`. Read at the start. Default: none, and nothing is put in.
	Name string `yaml:"name"`
	// Pin is what is to be pinned: `workloads` and `pods`, or `pods` alone. Default: `[workloads, pods]`.
	Pin []string `yaml:"pin"`
}

// Certificates says where the serving certificate comes from. Read at the start.
type Certificates struct {
	// Mode is `self-managed` (tagpin makes and renews the certificate and its CA, and puts the CA into the registration that
	// `registration.name` names) or `mounted` (the files of `--cert-dir`). Default: `self-managed`.
	Mode string `yaml:"mode"`
	// Secret is the name of the secret that holds a self-managed certificate; it has to be there, and may be empty. Default:
	// `tagpin-webhook-tls`.
	Secret string `yaml:"secret"`
	// Service is the name of the service that a self-managed certificate is for. Default: `tagpin-webhook`.
	Service string `yaml:"service"`
}

// Observability is off where it is empty. It is read when the server starts.
type Observability struct {
	// Tracing is the OTLP endpoint that spans are sent to, over HTTP: `http://collector:4318`, or with the whole path where it
	// is not `/v1/traces`. Default: off.
	Tracing string `yaml:"tracing"`
	// Pprof is a loopback address that Go profiles are served on: `localhost:6060`. Default: off.
	Pprof string `yaml:"pprof"`
}
