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
// that a misspelled field is not replaced by its default, and all of them are reported at once. But
// if a field occurs twice or the text is no YAML, invalid values are not reported yet. The package
// starts nothing that the file configures.
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
	// ShortNames says how images are treated that name no registry host: `nginx`, `library/nginx:1`.
	// With `docker.io`, they are on Docker Hub, as for containerd and Docker. CRI-O and Podman, and so
	// OpenShift, can be configured to pull them from elsewhere; `leave` leaves them alone, as if they
	// were exempt. Default: `docker.io`.
	ShortNames string `yaml:"shortNames"`
	// SkipOwners are operators that compare the image text of their pods, and would delete pinned
	// pods again and again. Default: none.
	SkipOwners []SkipOwner `yaml:"skipOwners"`
	// Templates are kinds beyond the built-in ones, and the paths of their pod templates and images.
	// Default: none.
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

// Template is a kind that has pod templates, or images outside of them.
type Template struct {
	// Group is the API group of the kind: `argoproj.io`. Default: the core group.
	Group string `yaml:"group"`
	// Kind is the kind: `Rollout`. Required.
	Kind string `yaml:"kind"`
	// Resource is the kind's name in URLs, for the webhook's registration. Default: the plural of
	// the kind in lower case.
	Resource string `yaml:"resource"`
	// Paths are the paths of its pod templates, with `[*]` for each element of a list:
	// `spec.template`, `spec.replicatedJobs[*].template.spec.template`. Required unless
	// `images` is set. At most 32, with those of `images`.
	Paths []string `yaml:"paths"`
	// Images are the paths of its image fields outside of pod templates: `spec.image`,
	// `spec.steps[*].image`. The last step is a field whose text is an image. A field
	// `imagePullPolicy` beside it counts as in a container. The images are looked up with the pull
	// secrets in `imagePullSecrets` or, without them, those of the service account
	// `serviceAccountName`, which is `default` if the object names none. Both are fields of `spec`
	// or of another object on the way to the lists of images, such as a CronWorkflow's
	// `spec.workflowSpec`. Required unless `paths` is set.
	Images []string `yaml:"images"`
}

// OnFailure says for each class of failed lookups what happens to the object: `deny`; `defer` (a
// workload is admitted as it is, and its pods are denied until the image resolves); or `allow` (the
// object is admitted without the pin).
type OnFailure struct {
	// NotFound is for an image that the registry does not have. Default: `deny`.
	NotFound string `yaml:"notFound"`
	// Unauthorized is for a registry that accepts none of the credentials. Default: `defer`.
	Unauthorized string `yaml:"unauthorized"`
	// Unavailable is for a registry that can't be reached, limits the rate, times out or fails. A pod
	// that one of Kubernetes' controllers did not wait for, because they have waited for its namespace
	// for too long, is denied whatever this says: the controller tries again. Default: `defer`.
	Unavailable string `yaml:"unavailable"`
	// Invalid is for an answer of the registry that can't be used. Default: `deny`.
	Invalid string `yaml:"invalid"`
}

// Cache limits what is remembered of the answers of registries. Requests that deploy something are
// never answered from it.
type Cache struct {
	// Size is the number of answers. Default: `10000`.
	Size int `yaml:"size"`
	// TTL is how old an answer may be that a controller's pods get, except the first pod of a
	// revision. Default: `30s`.
	TTL Duration `yaml:"ttl"`
	// NegativeTTL is how old a failure may be that a controller's pods get. Default: `5s`.
	NegativeTTL Duration `yaml:"negativeTTL"`
	// StaleFor is how old an answer may be that they get while the lookup is unavailable: the
	// registry is unreachable, limits the rate or fails, or a credential could not be read. It is at
	// least `ttl`. Default: `1h`.
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
	// Timeout is the time limit of one request for a manifest, with all that it needs: the challenge,
	// the token and redirects. Default: `5s`.
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
	// Mirrors are asked first, in order, with the credentials of their own host. The pin keeps the
	// author's host, which a mirror gets as `?ns=`, as from containerd. A registry that does not set
	// any has the mirrors of `*`, except those that are the registry itself; `[]` is none. Default:
	// none.
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
	// AuthHosts are other hosts, or ports of its host, that may issue its tokens, and that get its
	// credentials. Default: none. Not for `*`.
	AuthHosts []string `yaml:"authHosts"`
}

// Mirror is another host that serves a registry's images.
type Mirror struct {
	// Host is the mirror's host and, if it has the registry's repositories below a path, that path:
	// `mirror.internal:5000`, `harbor.internal/docker-hub`. Its own settings, such as a `caFile`,
	// belong to an entry of `registries` for its host. Required.
	Host string `yaml:"host"`
	// OverridePath makes the path in `host` that of the whole API, in place of `/v2`, as
	// `override_path` does in containerd's hosts.toml: `artifactory.internal/api/docker/remote/v2`.
	// Default: `false`.
	OverridePath bool `yaml:"overridePath"`
	// Resolve asks the mirror for the digests of tags too. A mirror may have older ones than the
	// registry; with `verify` the registry is asked as well, and another digest there is an error.
	// Without resolve, the mirror is only asked for images with a digest. Default: `false`.
	Resolve bool `yaml:"resolve"`
	// Rewrites change the repository's path for this mirror, before the path in `host`. The first one
	// whose pattern matches counts. Default: none.
	Rewrites []Rewrite `yaml:"rewrites"`
}

// Rewrite changes the path of a repository.
type Rewrite struct {
	// Pattern is a regular expression in the syntax of Go's package regexp (RE2). It may match
	// anywhere in the path, unless it has `^` and `$`: `^library/(.*)`. Required.
	Pattern string `yaml:"pattern"`
	// Replacement is put in place of each match. It may have the pattern's groups, such as `$1` or
	// `${1}`: `docker-hub/$1`. Default: empty.
	Replacement string `yaml:"replacement"`
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
	// Pin is what to pin: `workloads` and `pods`, or `pods` alone. Rules for workloads are not written
	// while a webhook of the registration has `failurePolicy: Ignore`. Default: `[workloads, pods]`.
	Pin []string `yaml:"pin"`
	// DefaultMode is the mode of namespaces without the label `tagpin.dev/mode`: `enforce` or
	// `dry-run`. Of this field and those below, the server writes only `objectSelector` into the
	// registration. `tagpin-webhook manifests` prints what they say, and the server reports where the
	// registration differs. Default: none, and these namespaces are not served.
	DefaultMode string `yaml:"defaultMode"`
	// ExcludedNamespaces are never served, whatever their label. kube-system, kube-node-lease and
	// tagpin's own namespace never are.
	ExcludedNamespaces []string `yaml:"excludedNamespaces"`
	// NamespaceSelector is a label selector. A namespace whose labels it does not select is not
	// served in any mode. Default: it selects all.
	NamespaceSelector LabelSelector `yaml:"namespaceSelector"`
	// ObjectSelector is a label selector. A workload whose own labels it does not select is left as
	// it is, in every mode. Pods are served whatever their labels, because a tenant sets these. The
	// server writes it as a match condition. It requires that `pin` has `workloads`. Default: it
	// selects all.
	ObjectSelector LabelSelector `yaml:"objectSelector"`
	// KeepOnly serves each of these namespaces in the mode `keep`. Default: `false`.
	KeepOnly bool `yaml:"keepOnly"`
	// FailurePolicy is what the API server does while tagpin can't be reached: `Fail` refuses the
	// request, `Ignore` admits it unpinned and requires `pin: [pods]`. Default: `Fail`.
	FailurePolicy string `yaml:"failurePolicy"`
	// TimeoutSeconds is how long the API server waits for an answer, at most 30. Default: 10.
	TimeoutSeconds int `yaml:"timeoutSeconds"`
}

// LabelSelector selects labels as Kubernetes' selectors do: all of its parts must hold.
type LabelSelector struct {
	// MatchLabels are labels with the values that they must have.
	MatchLabels map[string]string `yaml:"matchLabels"`
	// MatchExpressions are conditions for labels.
	MatchExpressions []LabelExpression `yaml:"matchExpressions"`
}

// LabelExpression is a condition for a label.
type LabelExpression struct {
	// Key is the name of the label. Required.
	Key string `yaml:"key"`
	// Operator is `In`, `NotIn`, `Exists` or `DoesNotExist`. Required.
	Operator string `yaml:"operator"`
	// Values are those of `In` and `NotIn`, which require them.
	Values []string `yaml:"values"`
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
