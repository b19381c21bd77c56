// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/registration"
)

const aboutManifests = `Prints manifests that belong to a config: how the API server is to call
the webhook, or a policy that demands digests. Apply them where the chart is not used, and again
when the config changes.

Usage: tagpin-webhook manifests [FLAG]…

`

// manifestFlags are the flags of tagpin-webhook manifests.
type manifestFlags struct {
	what, config, caFile   string
	namespace, defaultMode string
	excluded               []string
	podsOnly, failOpen     bool
}

func newManifestFlags(o *manifestFlags) *flag.FlagSet {
	fs := flag.NewFlagSet("tagpin-webhook manifests", flag.ContinueOnError)
	fs.StringVar(&o.what, "print", "registration",
		"`what` to print: the registration; policy, with which the API server demands digests; "+
			"or gatekeeper, with which Gatekeeper does")
	fs.StringVar(&o.config, "config", "",
		"`file` of the config that the output belongs to, or - for the standard input. A TLS file that "+
			"it names and that can't be read here is reported, and is no error (default: none)")
	fs.StringVar(&o.namespace, "namespace", "tagpin-system",
		"`namespace` that tagpin is in")
	fs.StringVar(&o.defaultMode, "default-mode", "",
		"`mode` of namespaces without the label tagpin.dev/mode: dry-run or enforce "+
			"(default: that of the config)")
	fs.Func("excluded-namespaces",
		"`names`, with commas between them, of namespaces that tagpin always leaves alone, beside "+
			"kube-system, kube-node-lease and its own (default: as in the config)",
		func(names string) error {
			o.excluded = strings.Split(names, ",")
			return nil
		})
	fs.StringVar(&o.caFile, "ca-file", "",
		"`file` of the PEM certificates that sign the webhook's certificate "+
			"(default: none, to be filled in)")
	fs.BoolVar(&o.podsOnly, "pods-only", false,
		"register only pods: workloads stay as they are, and the pods of a revision run one digest")
	fs.BoolVar(&o.failOpen, "fail-open", false,
		"admit pods unpinned while tagpin can't be reached; needs --pods-only")
	return fs
}

// manifests prints the manifests that belong to a config, and returns the exit code.
func manifests(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o manifestFlags
	fs := newManifestFlags(&o)
	err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, aboutManifests)
		printHelp(fs, stdout)
		return exitOK
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case err == nil:
		err = o.write(stdin, stdout, stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "tagpin-webhook: %v\n", err)
		return exitUsage
	}
	return exitOK
}

func (o *manifestFlags) write(stdin io.Reader, w, stderr io.Writer) error {
	c, err := o.load(stdin)
	if err != nil {
		return err
	}
	reportFiles(c, stderr)
	r, err := o.registration(c)
	if err != nil {
		return err
	}
	rules := c.Policy()
	policy := registration.Policy{
		Namespaces: r.Namespaces, Objects: r.Objects,
		ExemptImages: c.ExemptImages, LeaveShortNames: rules.LeaveShortNames,
	}
	for _, s := range rules.SkipOwners {
		policy.SkipOwners = append(policy.SkipOwners, registration.SkipOwner(s))
	}
	switch o.what {
	case "registration":
		return r.WriteYAML(w)
	case "policy":
		return policy.WriteYAML(w)
	case "gatekeeper":
		return policy.WriteGatekeeperYAML(w)
	}
	return fmt.Errorf("--print %q: want registration, policy or gatekeeper", o.what)
}

// maxConfig bounds a config on the standard input: no ConfigMap is larger.
const maxConfig = 1 << 20

// load reads the config.
func (o *manifestFlags) load(stdin io.Reader) (*config.Config, error) {
	if o.config != "-" {
		return config.Load(o.config)
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("larger than %d bytes", maxConfig)
	}
	var c *config.Config
	if err == nil {
		c, err = config.Parse(data)
	}
	if err != nil {
		return nil, fmt.Errorf("config: standard input: %w", err)
	}
	return c, nil
}

// reportFiles writes a note if a TLS file that a config names can't be used here. The files of the
// server may be there all the same, if this is another machine.
func reportFiles(c *config.Config, stderr io.Writer) {
	client := c.Client()
	defer client.Close()
	if err := client.Init(); err != nil {
		_, _ = fmt.Fprintf(stderr, "tagpin-webhook: note: as seen from here, the server would refuse "+
			"this config: %v\n", err)
	}
}

// registration returns the registration that belongs to a config. The flags that are set replace
// fields of the config.
func (o *manifestFlags) registration(c *config.Config) (r *registration.Registration, err error) {
	r = newRegistration(c, o.namespace)
	r.DefaultMode = cmp.Or(o.defaultMode, r.DefaultMode)
	if o.excluded != nil {
		r.Excluded = o.excluded
	}
	r.FailOpen, r.PodsOnly = r.FailOpen || o.failOpen, r.PodsOnly || o.podsOnly
	if o.caFile != "" {
		if r.CABundle, err = os.ReadFile(o.caFile); err != nil {
			return nil, err
		}
		if _, err := parsePool(o.caFile, r.CABundle); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// newRegistration returns the registration that belongs to a config and tagpin's namespace.
func newRegistration(c *config.Config, namespace string) *registration.Registration {
	of := &c.Registration
	r := &registration.Registration{
		Namespaces: registration.Namespaces{
			Namespace: namespace, DefaultMode: of.DefaultMode, Excluded: of.ExcludedNamespaces,
			Selector: requirements(&of.NamespaceSelector), KeepOnly: of.KeepOnly,
		},
		Service:        c.Certificates.Service,
		PodsOnly:       !slices.Contains(of.Pin, config.Workloads),
		FailOpen:       of.FailurePolicy == string(admissionregistrationv1.Ignore),
		TimeoutSeconds: of.TimeoutSeconds,
		Objects:        requirements(&of.ObjectSelector),
		IgnoreRestart:  !c.RefreshOnRestart, RefreshAnnotations: c.RefreshAnnotations,
	}
	for _, t := range c.Templates {
		resource := t.Resource
		if resource == "" {
			kind := schema.GroupVersionKind{Group: t.Group, Kind: t.Kind}
			plural, _ := meta.UnsafeGuessKindToResource(kind)
			resource = plural.Resource
		}
		r.Kinds = append(r.Kinds, registration.Kind{
			Group: t.Group, Kind: t.Kind, Resource: resource, Paths: t.Paths, Images: t.Images,
		})
	}
	return r
}

// requirements returns a label selector of the config as package registration has it.
func requirements(s *config.LabelSelector) (all []metav1.LabelSelectorRequirement) {
	for _, e := range s.Expressions() {
		all = append(all, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values,
		})
	}
	return all
}
