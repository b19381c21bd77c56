// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/process"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

const aboutResolve = `Prints the digest of each IMAGE on a line. It looks the image up anew, with the network and
the credentials that the server uses for a pod, if --config names the server's config and
--namespace the pod's namespace. If a lookup fails, it prints the class of the failure and the cause
to stderr, and no line to stdout; the exit code is 1. If the config says shortNames: leave, images
without a digest must name their registry host.

tagpin resolve, on your own machine, uses your own network and logins. It prints an empty line for
an image whose lookup fails, and its exit code is then 3.

Usage: tagpin-webhook resolve [FLAG]… IMAGE…

`

// lookup has the flags of tagpin-webhook resolve, and the images.
type lookup struct {
	options // of which --config, --kubeconfig and --standalone are flags

	namespace, account string
	pullSecrets        []string
	images             []ref.Reference
}

func newLookupFlags(l *lookup) *flag.FlagSet {
	fs := flag.NewFlagSet("tagpin-webhook resolve", flag.ContinueOnError)
	fs.StringVar(&l.config, "config", "",
		"`file` of the config, /etc/tagpin/config.yaml in tagpin's pods (default: none)")
	fs.StringVar(&l.kubeconfig, "kubeconfig", "",
		"`file` that names the API server (default: that of the cluster it runs in)")
	fs.BoolVar(&l.standalone, "standalone", false, "use no API server: no pull secrets")
	fs.StringVar(&l.namespace, "namespace", "default",
		"`namespace` of the pod that has the image, where its pull secrets are")
	fs.StringVar(&l.account, "service-account", "default", "`name` of the pod's service account")
	fs.Func("pull-secret",
		"`name` of a pull secret of the pod; may be repeated (default: those of the service account)",
		func(name string) error {
			l.pullSecrets = append(l.pullSecrets, name)
			return nil
		})
	return fs
}

func (l *lookup) parse(args []string, stdout io.Writer) error {
	fs := newLookupFlags(l)
	err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprint(stdout, aboutResolve)
		printHelp(fs, stdout)
	}
	if err != nil {
		return err
	}
	errs := []error{l.validate(nil)}
	if fs.NArg() == 0 {
		errs = append(errs, errors.New("resolve: name an image"))
	}
	for _, arg := range fs.Args() {
		image, err := ref.Parse(arg)
		l.images = append(l.images, image)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// resolveImages looks images up as the server does for a pod, so that an operator sees in the
// server's pod why a lookup fails. It returns the exit code.
func resolveImages(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	l := lookup{options: options{webhookPort: 1}} // it has no such flag, and validate wants a port
	err := l.parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	failed := 0
	if err == nil {
		failed, err = l.run(ctx, stdout, stderr)
	}
	switch {
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "tagpin-webhook: %v\n", err)
		return exitUsage
	case failed > 0:
		return exitFailed
	}
	return exitOK
}

// checkNames returns an error for each image that can't be looked up because its name has no host.
func (l *lookup) checkNames(c *config.Config) error {
	rules := c.Policy()
	errs := make([]error, 0, len(l.images))
	for _, image := range l.images {
		errs = append(errs, rules.CheckName(image))
	}
	return errors.Join(errs...)
}

// run prints what the lookups find, and returns the number of those that failed.
func (l *lookup) run(ctx context.Context, stdout, stderr io.Writer) (failed int, err error) {
	if l.config == "" {
		_, _ = fmt.Fprintln(stderr, "tagpin-webhook: without --config, the defaults are used; the "+
			"server's own is /etc/tagpin/config.yaml in its pods")
	}
	c, err := config.Load(l.config)
	if err != nil {
		return 0, err
	}
	if err := l.checkNames(c); err != nil {
		return 0, err
	}
	log := newLogger(stderr, zapcore.InfoLevel)
	process.LogLibraries(log)
	api, err := (&server{options: l.options, config: c, log: log}).connect()
	if err != nil {
		return 0, err
	}
	h, err := newHandlers(c, log, prometheus.NewRegistry(), api)
	if err != nil {
		return 0, err
	}
	defer h.close()
	s := h.use()
	defer s.reviews.Done()
	identity := workload.Identity{ServiceAccount: l.account, PullSecrets: l.pullSecrets}
	for _, image := range l.images {
		if image.Pinned() {
			_, _ = fmt.Fprintln(stdout, image.Digest())
			continue
		}
		result, err := s.resolver.Resolve(ctx, resolve.Request{
			Ref: image, Namespace: l.namespace, Fresh: true,
			Keychain: s.credentials.For(l.namespace, identity),
		})
		if err != nil {
			failed++
			_, _ = fmt.Fprintf(stderr, "%s: %s: %s\n", image, string(failure.Of(err)), failure.Cause(err))
			continue
		}
		_, _ = fmt.Fprintln(stdout, result.Digest)
	}
	return failed, nil
}
