// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/neighbours"
	"github.com/tagpin/tagpin/e2e/tools"
)

const certManager = "github.com/cert-manager/cert-manager"

var (
	env        *neighbours.Env
	helm       string // the path of Helm 4
	cainjector *child.Process
)

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "certmanager", Program: "cert-manager",
		Modules: []string{certManager},
		Before:  start,
	}.Run(m, &env))
}

// start installs cert-manager's kinds and starts its controllers. It deletes the registration of
// the cluster's own tagpin, since the tests install another one of the same name.
func start(ctx context.Context, e *neighbours.Env) error {
	all, err := tools.Helm(ctx, os.Stderr)
	if err != nil {
		return err
	}
	helm = all["4"]
	_, _, err = e.RunKubectl(ctx, nil,
		"delete", "mutatingwebhookconfiguration", cluster.ConfigurationName)
	if err != nil {
		return err
	}
	if err := e.InstallCRDs(ctx, certManager, "deploy/crds/*.yaml"); err != nil {
		return err
	}
	if _, err := e.StartProgram("controller", nil); err != nil {
		return err
	}
	cainjector, err = e.StartProgram("cainjector", nil)
	return err
}
