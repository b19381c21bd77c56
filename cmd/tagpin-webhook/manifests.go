// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/registration"
)

// manifestFlags are the flags of tagpin-webhook manifests.
type manifestFlags struct {
	what, config, caFile string
	namespaces           registration.Namespaces
	podsOnly, failOpen   bool
}

func newManifestFlags(o *manifestFlags) *flag.FlagSet {
	fs := flag.NewFlagSet("tagpin-webhook manifests", flag.ContinueOnError)
	fs.StringVar(&o.what, "print", "registration",
		"`what` to print: the registration; policy, with which the API server demands digests; "+
			"or gatekeeper, with which Gatekeeper does")
	fs.StringVar(&o.config, "config", "",
		"`file` of the config, whose templates are registered and whose exemptImages and "+
			"skipOwners are exempted (default: none)")
	fs.StringVar(&o.namespaces.Namespace, "namespace", "tagpin-system",
		"`namespace` that tagpin is in")
	fs.StringVar(&o.namespaces.DefaultMode, "default-mode", "",
		"`mode` of namespaces without the label tagpin.dev/mode: dry-run or enforce "+
			"(default: none, so that tagpin leaves them alone)")
	fs.Func("excluded-namespaces",
		"`names`, with commas between them, of namespaces that tagpin always leaves alone, beside "+
			"kube-system, kube-node-lease and its own",
		func(names string) error {
			o.namespaces.Excluded = strings.Split(names, ",")
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
func manifests(args []string, stdout, stderr io.Writer) int {
	var o manifestFlags
	fs := newManifestFlags(&o)
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stderr)
		fs.Usage()
		return exitOK
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case err == nil:
		err = o.write(stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "tagpin-webhook: %v\n", err)
		return exitUsage
	}
	return exitOK
}

func (o *manifestFlags) write(w io.Writer) error {
	c, err := config.Load(o.config)
	if err != nil {
		return err
	}
	policy := registration.Policy{Namespaces: o.namespaces, ExemptImages: c.ExemptImages}
	for _, s := range c.Policy().SkipOwners {
		policy.SkipOwners = append(policy.SkipOwners, registration.SkipOwner(s))
	}
	switch o.what {
	case "registration":
		r, err := o.registration(c)
		if err != nil {
			return err
		}
		return r.WriteYAML(w)
	case "policy":
		return policy.WriteYAML(w)
	case "gatekeeper":
		return policy.WriteGatekeeperYAML(w)
	}
	return fmt.Errorf("--print %q: want registration, policy or gatekeeper", o.what)
}

func (o *manifestFlags) registration(c *config.Config) (r *registration.Registration, err error) {
	r = newRegistration(c)
	r.Namespaces, r.FailOpen, r.PodsOnly = o.namespaces, o.failOpen, r.PodsOnly || o.podsOnly
	if o.caFile != "" {
		if r.CABundle, err = os.ReadFile(o.caFile); err != nil {
			return nil, err
		}
		if _, err := parsePool([][]byte{r.CABundle}); err != nil {
			return nil, fmt.Errorf("%s: %w", o.caFile, err)
		}
	}
	return r, nil
}

// newRegistration returns the registration that belongs to a config. It has no namespaces.
func newRegistration(c *config.Config) *registration.Registration {
	r := &registration.Registration{
		Service:       c.Certificates.Service,
		PodsOnly:      !slices.Contains(c.Registration.Pin, config.Workloads),
		IgnoreRestart: !c.RefreshOnRestart, RefreshAnnotations: c.RefreshAnnotations,
	}
	for _, t := range c.Templates {
		resource := t.Resource
		if resource == "" {
			kind := schema.GroupVersionKind{Group: t.Group, Kind: t.Kind}
			plural, _ := meta.UnsafeGuessKindToResource(kind)
			resource = plural.Resource
		}
		r.Kinds = append(r.Kinds, registration.Kind{
			Group: t.Group, Kind: t.Kind, Resource: resource, Paths: t.Paths,
		})
	}
	return r
}
