// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.uber.org/zap/zapcore"
)

// options are the flags. The table in the README is generated from their help.
type options struct {
	config      string
	kubeconfig  string
	webhookHost string
	webhookPort int
	certDir     string
	clientCA    string
	metrics     string
	probes      string
	standalone  bool
	logLevel    zapcore.Level
	version     bool
}

// newFlags returns the flags that set o. It sets the defaults.
func newFlags(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet("tagpin-webhook", flag.ContinueOnError)
	fs.StringVar(&o.config, "config", "",
		"`file` of the config, read again when it changes (default: none)")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "",
		"`file` that names the API server (default: that of the cluster it runs in)")
	fs.StringVar(&o.webhookHost, "webhook-host", "",
		"`address` to serve the webhook on (default: all)")
	fs.IntVar(&o.webhookPort, "webhook-port", 9443,
		"`port` to serve the webhook on")
	fs.StringVar(&o.certDir, "cert-dir", "/etc/tagpin/tls",
		"`directory` of tls.crt and tls.key, with certificates.mode mounted or --standalone; "+
			"read again when they change")
	fs.StringVar(&o.clientCA, "client-ca", "",
		"PEM `file` of the CAs that sign callers' certificates (default: callers need none)")
	fs.StringVar(&o.metrics, "metrics-bind-address", ":8080",
		"`address` to serve /metrics on; 0 for none")
	fs.StringVar(&o.probes, "health-probe-bind-address", ":8081",
		"`address` to serve /healthz and /readyz on; 0 for none")
	fs.BoolVar(&o.standalone, "standalone", false,
		"run without an API server: no pull secrets, no registration, "+
			"and each pod of a revision looked up by itself")
	fs.TextVar(&o.logLevel, "log-level", zapcore.InfoLevel,
		"least `level` to log: debug, info, warn or error")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	return fs
}

// oneDash matches the dash before each flag in the help that package flag prints.
var oneDash = regexp.MustCompile(`(?m)^  -(\w)`)

// printHelp prints the help of flags, with the two dashes that everybody writes.
func printHelp(fs *flag.FlagSet, stdout io.Writer) {
	var text strings.Builder
	fs.SetOutput(&text)
	fs.Usage()
	_, _ = io.WriteString(stdout, oneDash.ReplaceAllString(text.String(), "  --$1"))
}

// parseFlags parses the flags of the server. If the error is flag.ErrHelp, it has printed the help.
func parseFlags(args []string, stdout io.Writer) (options, error) {
	var o options
	fs := newFlags(&o)
	err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		printHelp(fs, stdout)
		_, _ = fmt.Fprint(stdout, `
To print the webhook's registration for a config: tagpin-webhook manifests --help
To look up an image as the server does, and see why it fails: tagpin-webhook resolve --help
To call the webhook as the API server does, and see why that fails: tagpin-webhook verify --help
`)
	}
	if err != nil {
		return o, err
	}
	return o, o.validate(fs.Args())
}

// parse parses arguments, and refuses empty values: without --client-ca, for example, everybody may
// call the webhook. The caller prints the error.
func parse(fs *flag.FlagSet, args []string) error {
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		return err
	}
	var errs []error
	fs.Visit(func(f *flag.Flag) {
		if value, ok := f.Value.(flag.Getter); ok && value.Get() == "" {
			errs = append(errs, fmt.Errorf("--%s has an empty value; if a variable has the value, it may "+
				"not be set", f.Name))
		}
	})
	return errors.Join(errs...)
}

// validate returns an error that names every mistake. rest are the arguments that are not flags.
func (o *options) validate(rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", rest[0]))
	}
	if o.webhookPort < 1 || o.webhookPort > 65535 {
		errs = append(errs, fmt.Errorf("--webhook-port %d: want 1 to 65535", o.webhookPort))
	}
	if o.standalone && o.kubeconfig != "" {
		errs = append(errs, errors.New("--standalone uses no API server: remove --kubeconfig"))
	}
	if o.logLevel > zapcore.ErrorLevel {
		errs = append(errs, fmt.Errorf("--log-level %s: want debug, info, warn or error", o.logLevel))
	}
	return errors.Join(errs...)
}
