// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/pkg/printable"
	"github.com/tagpin/tagpin/pkg/registrar"
)

const aboutVerify = `Calls the webhook as the API server does: where the registration says that it is, and trusting only
the certificates that the registration trusts. It prints a line for each check, which begins with
ok, skip or FAIL. A failed check says what to do, and the exit code is then 1. The reviews that it
sends change nothing. The chart's test (helm test) runs this command.

It does not find out whether the network lets the API server through to tagpin.

Usage: tagpin-webhook verify [FLAG]…

`

// verifyRetry is the time between two attempts of tagpin-webhook verify.
const verifyRetry = time.Second

// verification has the flags of tagpin-webhook verify, and what the checks need.
type verification struct {
	kubeconfig, name string
	image            string
	pullSecrets      []string
	wait             time.Duration

	client kubernetes.Interface
	caller registrar.Caller
}

func newVerifyFlags(v *verification) *flag.FlagSet {
	fs := flag.NewFlagSet("tagpin-webhook verify", flag.ContinueOnError)
	fs.StringVar(&v.kubeconfig, "kubeconfig", "",
		"`file` that names the API server (default: that of the cluster it runs in)")
	fs.StringVar(&v.name, "registration", "zz-tagpin",
		"`name` of the MutatingWebhookConfiguration")
	fs.StringVar(&v.image, "image", "",
		"`image` by its tag, to pin in a review of the mode dry-run (default: none)")
	fs.Func("pull-secret", "`name` of a pull secret for the image, in the namespace of tagpin; may "+
		"be given several times", func(name string) error {
		v.pullSecrets = append(v.pullSecrets, name)
		return nil
	})
	fs.DurationVar(&v.wait, "wait", 0,
		"`time` to try again while a check fails. After an installation, the server may need a little "+
			"more than a minute until it writes its rules (default: not at all)")
	return fs
}

func (v *verification) parse(args []string, stdout io.Writer) error {
	fs := newVerifyFlags(v)
	err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, aboutVerify)
		printHelp(fs, stdout)
		return err
	case err != nil:
		return err
	case fs.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return v.connect()
}

// connect creates the client of the API server.
func (v *verification) connect() error {
	c, err := loadKubeconfig(v.kubeconfig)
	if err != nil {
		return fmt.Errorf("no API server: set --kubeconfig: %w", err)
	}
	clock := &clock{}
	c.Wrap(clock.wrap)
	if v.client, err = kubernetes.NewForConfig(c); err != nil {
		return err
	}
	v.caller = registrar.Caller{Client: v.client, Now: clock.now}
	return nil
}

// verify calls the webhook as the API server does, and prints what it finds. It returns the exit
// code.
func verify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var v verification
	err := v.parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "tagpin-webhook: %v\n", err)
		return exitUsage
	}
	code := exitOK
	for _, f := range v.settled(ctx, stderr) {
		_, _ = fmt.Fprintln(stdout, f)
		if f.outcome == failed {
			code = exitFailed
		}
	}
	return code
}

// settled returns what the checks find when none fails any more, or when the time to wait is over.
func (v *verification) settled(ctx context.Context, stderr io.Writer) []finding {
	waiting, cancel := context.WithTimeout(ctx, v.wait)
	defer cancel()
	for first := true; ; first = false {
		found := v.check(ctx)
		if !anyFailed(found) || v.wait <= 0 {
			return found
		}
		if first {
			_, _ = fmt.Fprintf(stderr, "tagpin-webhook: a check fails; trying again for %s\n", v.wait)
		}
		select {
		case <-waiting.Done():
			return found
		case <-time.After(verifyRetry):
		}
	}
}

// outcome is how a check has ended.
type outcome string

const (
	passed  outcome = "ok"
	skipped outcome = "skip"
	failed  outcome = "FAIL"
)

// finding is the result of one check. It is about a subject, such as a webhook.
type finding struct {
	outcome       outcome
	subject, text string
	next          string // what to do if it failed
}

// String returns the line of the finding. A webhook may answer anything, so what a terminal would
// obey is escaped.
func (f finding) String() string {
	line := fmt.Sprintf("%-5s %s: %s", f.outcome, f.subject, f.text)
	if f.next != "" {
		line += "; " + f.next
	}
	return printable.Text(line)
}

func anyFailed(found []finding) bool {
	for _, f := range found {
		if f.outcome == failed {
			return true
		}
	}
	return false
}
