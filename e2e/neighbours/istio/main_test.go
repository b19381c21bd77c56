// SPDX-License-Identifier: Apache-2.0

package istio

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// env is the environment of all tests. Each has its own namespace.
var env *neighbours.Env

const module = "istio.io/istio"

// Istio's namespace, and the user that its pods are.
const (
	system = "istio-system"
	user   = "system:serviceaccount:" + system + ":istiod"
)

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "istio", Program: "Istio", Modules: []string{module}, Before: start,
	}.Run(m, &env))
}

// start installs what istioctl prints, starts Istio's control plane, and registers its webhook when
// it is ready.
func start(ctx context.Context, e *neighbours.Env) error {
	i, err := newInstallation(ctx, e)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, _, err := e.RunKubectl(limited, nil, "create", "namespace", system); err != nil {
		return err
	}
	if err := i.apply(limited, i.objects); err != nil {
		return err
	}
	if err := errors.Join(writeKubeconfig(e), writeCertificate(e)); err != nil {
		return err
	}
	flags := []string{
		"discovery", "--kubeconfig=" + filepath.Join(e.Scratch, "kubeconfig"),
		"--namespace=" + system, "--httpsAddr=" + i.webhook, "--ctrlz_port=0",
		"--caCertFile=" + filepath.Join(e.Scratch, "ca.crt"),
		"--tlsCertFile=" + filepath.Join(e.Scratch, "tls.crt"),
		"--tlsKeyFile=" + filepath.Join(e.Scratch, "tls.key"),
	}
	var health string
	for _, flag := range []string{"grpcAddr", "secureGRPCAddr", "monitoringAddr", "httpAddr"} {
		if health, err = neighbours.FreeAddress(ctx); err != nil {
			return err
		}
		flags = append(flags, "--"+flag+"="+health)
	}
	// The registration already has the CA of the certificate.
	variables := []string{
		"POD_NAMESPACE=" + system, "POD_NAME=istiod",
		"INJECTION_WEBHOOK_CONFIG_NAME=", "VALIDATION_WEBHOOK_CONFIG_NAME=",
	}
	p, err := e.StartProgram("pilot-discovery", variables, flags...)
	if err != nil {
		return err
	}
	err = p.Wait(limited, func(ctx context.Context) error {
		return neighbours.Ready(ctx, "http://"+health+"/ready")
	})
	return errors.Join(err, i.apply(limited, i.webhooks))
}

// writeKubeconfig writes a kubeconfig with which the administrator acts as Istio's service account,
// so that Istio has no more rights than its manifest gives it.
func writeKubeconfig(e *neighbours.Env) error {
	config, err := clientcmd.LoadFromFile(e.Kubeconfig)
	if err != nil {
		return err
	}
	for _, u := range config.AuthInfos {
		u.Impersonate = user
		u.ImpersonateGroups = []string{
			"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated",
		}
	}
	return clientcmd.WriteToFile(*config, filepath.Join(e.Scratch, "kubeconfig"))
}

// writeCertificate writes the certificate of the webhook.
func writeCertificate(e *neighbours.Env) error {
	leaf, err := e.CA.Issue()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(e.Scratch, "ca.crt"), e.CA.PEM, 0o600),
		os.WriteFile(filepath.Join(e.Scratch, "tls.crt"), leaf.CertPEM, 0o600),
		os.WriteFile(filepath.Join(e.Scratch, "tls.key"), leaf.KeyPEM, 0o600),
	)
}
