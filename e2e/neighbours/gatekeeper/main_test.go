// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// env is the environment of all tests. Each has its own namespace.
var env *neighbours.Env

const module = "github.com/open-policy-agent/gatekeeper/v3"

// Gatekeeper's namespace and its service account.
const (
	system  = "gatekeeper-system"
	account = "gatekeeper-admin"
)

// The pods that Gatekeeper's processes take themselves for.
const (
	webhookPod = "gatekeeper-controller-manager"
	auditPod   = "gatekeeper-audit"
)

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "gatekeeper", Program: "Gatekeeper", Modules: []string{module}, Before: start,
	}.Run(m, &env))
}

// start installs Gatekeeper, starts its webhooks and its audit as two processes, and registers the
// webhooks when they are ready.
func start(ctx context.Context, e *neighbours.Env) error {
	i, err := newInstallation(ctx, e)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := e.ApplyObjects(limited, i.objects); err != nil {
		return err
	}
	if err := writeCertificate(e); err != nil {
		return err
	}
	audited := filepath.Join(e.Scratch, "audit")
	if err := os.Mkdir(audited, 0o700); err != nil {
		return err
	}
	if _, err := startProgram(limited, e, auditPod, "--operation=audit", "--operation=status",
		"--operation=mutation-status", "--operation=generate", "--audit-interval=2",
		"--audit-match-kind-only", "--api-cache-dir="+audited,
	); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(i.address)
	if err != nil {
		return err
	}
	webhooks, err := startProgram(limited, e, webhookPod, "--operation=webhook",
		"--operation=mutation-webhook", "--host="+host, "--port="+port, "--exempt-namespace="+system)
	if err != nil {
		return err
	}
	if err := e.ApplyObjects(limited, i.webhooks); err != nil {
		return err
	}
	if err := webhooks.Wait(limited, i.registered); err != nil {
		return err
	}
	return i.templates(limited)
}

// writeCertificate writes the certificate of the webhooks.
func writeCertificate(e *neighbours.Env) error {
	leaf, err := e.CA.Issue()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(e.Scratch, "tls.crt"), leaf.CertPEM, 0o600),
		os.WriteFile(filepath.Join(e.Scratch, "tls.key"), leaf.KeyPEM, 0o600),
	)
}

// startProgram starts Gatekeeper in the place of a pod and waits until it is ready.
func startProgram(
	ctx context.Context, e *neighbours.Env, pod string, args ...string,
) (*child.Process, error) {
	health, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(metrics)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := e.ActAs(system, account)
	if err != nil {
		return nil, err
	}
	p, err := e.StartProgram("gatekeeper",
		[]string{"POD_NAMESPACE=" + system, "POD_NAME=" + pod},
		append(args, "--kubeconfig="+kubeconfig, "--health-addr="+health, "--prometheus-port="+port,
			"--cert-dir="+e.Scratch, "--disable-cert-rotation",
			"--disable-opa-builtin={http.send}")...)
	if err != nil {
		return nil, err
	}
	return p, p.Wait(ctx, func(ctx context.Context) error {
		return neighbours.Ready(ctx, "http://"+health+"/readyz")
	})
}

// denied reports whether Gatekeeper has denied a request because of the constraint with
// a name.
func denied(err error, name string) bool {
	const by = `"validation.gatekeeper.sh" denied the request`
	return err != nil && strings.Contains(err.Error(), by) &&
		strings.Contains(err.Error(), "["+name+"]")
}
