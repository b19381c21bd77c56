// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"go.uber.org/zap/zapcore"
)

// options are the flags. Their help is the source of the README's table.
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

// newFlags declares the flags, with their defaults, for o.
func newFlags(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet("tagpin-webhook", flag.ContinueOnError)
	fs.StringVar(&o.config, "config", "", "`file` of the config; reloaded when it changes (default: none, every setting has its default)")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that names the API server (default: that of the cluster it runs in)")
	fs.StringVar(&o.webhookHost, "webhook-host", "", "`address` to serve the webhook on (default: all)")
	fs.IntVar(&o.webhookPort, "webhook-port", 9443, "`port` to serve the webhook on")
	fs.StringVar(&o.certDir, "cert-dir", "/etc/tagpin/tls", "`directory` of tls.crt and tls.key, where certificates.mode is mounted; read again when they change")
	fs.StringVar(&o.clientCA, "client-ca", "", "`file` of PEM certificates; callers have to show a certificate that they signed (default: none is asked for)")
	fs.StringVar(&o.metrics, "metrics-bind-address", ":8080", "`address` to serve /metrics on; 0 for none")
	fs.StringVar(&o.probes, "health-probe-bind-address", ":8081", "`address` to serve /healthz and /readyz on; 0 for none")
	fs.BoolVar(&o.standalone, "standalone", false, "run without an API server: no pull secrets, no siblings")
	o.logLevel = zapcore.InfoLevel
	fs.Var(level{&o.logLevel}, "log-level", "least `level` to log: debug, info, warn or error")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	return fs
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := newFlags(&o)
	fs.SetOutput(io.Discard) // the caller tells of errors
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(stderr)
		fs.Usage()
		fmt.Fprintln(stderr, "\nTo print the webhook's registration for a config: tagpin-webhook manifests --help")
	}
	if err != nil {
		return o, err
	}
	return o, o.validate(fs.Args())
}

// validate names every mistake at once.
func (o *options) validate(rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", rest[0]))
	}
	if o.webhookPort < 1 || o.webhookPort > 65535 {
		errs = append(errs, fmt.Errorf("--webhook-port %d: want 1 to 65535", o.webhookPort))
	}
	if o.standalone && o.kubeconfig != "" {
		errs = append(errs, errors.New("--standalone uses no API server: leave --kubeconfig out"))
	}
	return errors.Join(errs...)
}

// level is a zapcore.Level that takes the four levels alone.
type level struct{ *zapcore.Level }

func (l level) String() string {
	if l.Level == nil { // package flag asks the zero value
		return ""
	}
	return l.Level.String()
}

func (l level) Set(s string) error {
	switch s {
	case "debug", "info", "warn", "error":
		return l.Level.Set(s)
	}
	return errors.New("want debug, info, warn or error")
}
