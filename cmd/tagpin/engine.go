// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain/local"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// engine has the parts that a command uses, set up from the webhook's config file.
type engine struct {
	config   *config.Config
	table    *workload.Table
	client   *registry.Client
	mirrors  *resolve.Mirrors
	patience *patience
	answers  *oneAnswer
	pinner   *pin.Pinner
	keychain *local.Keychain
	panics   *panics.Reporter // may be changed before the first lookup
}

const (
	// defaultTimeout allows to wait for a registry that limits its requests, which most do by the
	// minute, and ends long before a job of CI would.
	defaultTimeout = 5 * time.Minute
	// requestTimeout is for one request if there is no config file. A person waits longer than an API
	// server does for the webhook.
	requestTimeout = 30 * time.Second
)

// engineFlags are the flags of all commands that contact registries.
type engineFlags struct {
	command    string        // its name
	configPath string        // of the config file; if empty, the defaults are used
	timeout    time.Duration // of the whole command; 0: none
	insecure   []string      // hosts
}

// register adds the flags. fields are those of the config file that the command uses.
func (f *engineFlags) register(flags *pflag.FlagSet, fields string) {
	f.command = flags.Name() // cobra names the flags like their command
	flags.StringVar(&f.configPath, "config", "",
		"config `file` of the webhook; this command uses "+fields+"; the files that it names, such as "+
			"caFile, must be on this machine; with a config, localhost needs valid TLS unless the config "+
			"says otherwise, and a request has the timeout of the config instead of "+
			requestTimeout.String())
	flags.DurationVar(&f.timeout, "timeout", defaultTimeout,
		"`time` for everything, including the waits that registries ask for; 0 is unlimited")
	flags.StringArrayVar(&f.insecure, "insecure", nil,
		"registry `host` whose TLS certificate is not verified, and which is asked by plain HTTP if it "+
			"has no TLS; without --config, localhost is such a host too; may be repeated")
}

// limit returns a context that ends after --timeout.
func (f *engineFlags) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	over := fmt.Errorf("the %v of --timeout are over", f.timeout)
	return context.WithTimeoutCause(ctx, f.timeout, over)
}

// checkFlags returns an error for each mistake in the flags. A command that has other flags too
// joins the errors of all of them, so that a user sees every mistake at once.
func (f *engineFlags) checkFlags() error {
	var errs []error
	if f.timeout < 0 {
		errs = append(errs, fmt.Errorf("%s: --timeout %v: want a time such as 30s, or 0", f.command,
			f.timeout))
	}
	for _, host := range f.insecure {
		if r, err := ref.Parse(host + "/a"); err != nil || r.Host() != host {
			errs = append(errs, fmt.Errorf("%s: --insecure %q: want the host of a registry, "+
				"such as registry.internal:5000", f.command, host))
		}
	}
	return errors.Join(errs...)
}

// newEngine reads the config file. The flags must have been checked. report is called with what the
// user should know but is no error of the command, such as one of a credential helper.
func (f *engineFlags) newEngine(ctx context.Context, report func(error)) (*engine, error) {
	c, err := loadConfig(ctx, f.configPath)
	if err != nil {
		return nil, err
	}
	caught := bugs(report)
	client, err := f.newClient(c, caught)
	if err != nil {
		return nil, err
	}
	e := &engine{
		config: c, table: c.Table(), client: client, keychain: newLogins(report), panics: caught,
		mirrors: &resolve.Mirrors{
			Next:   &resolve.Credentials{Next: &resolve.Registry{Client: client}},
			Client: client,
		},
	}
	e.patience = &patience{next: e.mirrors, report: report, limit: "--timeout"}
	e.answers = &oneAnswer{next: e.patience}
	e.pinner = &pin.Pinner{Policy: c.Policy(), Resolver: e.answers, AllAtOnce: true, Panics: caught}
	return e, nil
}

// loadConfig reads a config file. If path is empty, it returns the default config.
func loadConfig(ctx context.Context, path string) (*config.Config, error) {
	return await(ctx, func() (*config.Config, error) { return config.Load(path) })
}

// bugs returns what catches panics, and reports each with what its author needs.
func bugs(report func(error)) *panics.Reporter {
	return &panics.Reporter{Report: func(e *panics.Error) {
		const bug = "%w, which is a bug; please report it with this line: %v: %s"
		report(fmt.Errorf(bug, e, e.Value, e.Stack))
	}}
}

// newClient returns the client of registries. A config file says which addresses may be dialled, as
// it does for the webhook, so that both answer alike. Without one, the user may reach what is on
// the same machine: the rules protect a server from its tenants.
func (f *engineFlags) newClient(
	c *config.Config, caught *panics.Reporter,
) (*registry.Client, error) {
	client := c.Client()
	client.Panics = caught
	client.UserAgent, client.ExplainAll = "tagpin/"+moduleVersion(), true
	client.Lenient = registry.Lenient{Hosts: f.insecure, Loopback: f.configPath == ""}
	if f.configPath == "" {
		for i := range client.Hosts {
			client.Hosts[i].Timeout = requestTimeout
		}
	}
	return client, adviseMissing(client.Init())
}

// adviseMissing adds a hint to each error about a file of the config that does not exist.
func adviseMissing(err error) error {
	advice := "the config names a file of the webhook's pod; copy that file to this machine, and " +
		"change the path in a copy of the config"
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" { // in a pod, such as that of the chart's audit
		advice = "the config names a file of the webhook's pod; mount that file into this pod too"
	}
	all := failure.Split(err)
	for i, e := range all {
		if errors.Is(e, fs.ErrNotExist) {
			all[i] = hinted(e, advice)
		}
	}
	return errors.Join(all...)
}

// newLogins returns the logins of the user.
func newLogins(report func(error)) *local.Keychain {
	home, _ := os.UserHomeDir() // without one, the files in it are left out
	return &local.Keychain{
		Sources: local.Sources(local.Environment{
			Get: os.Getenv, Home: home, OS: runtime.GOOS, UID: os.Getuid(),
		}),
		Report: report,
	}
}

// close stops what the engine has begun.
func (e *engine) close() {
	e.client.Close()
	e.keychain.Close()
}

// oneAnswer resolves each image only once, so that all references to it get the same digest in one
// run, even if the tag is moved meanwhile. It is safe to share results between requests, because
// all of them belong to the same user and have the same context.
type oneAnswer struct {
	next    resolve.Resolver
	shown   *progress // if nil, the progress is not shown
	lookups sync.Map  // from a canonical reference to a func() (resolve.Result, error)
}

// Resolve resolves an image, or waits for the result of an earlier request for the same image.
func (o *oneAnswer) Resolve(ctx context.Context, req resolve.Request) (resolve.Result, error) {
	lookup, _ := o.lookups.LoadOrStore(req.Ref.Canonical(),
		sync.OnceValues(func() (resolve.Result, error) {
			o.shown.begin(1)
			defer o.shown.end()
			return o.next.Resolve(ctx, req)
		}))
	return lookup.(func() (resolve.Result, error))()
}
