// SPDX-License-Identifier: Apache-2.0

package argorollouts

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

const argoRollouts = "github.com/argoproj/argo-rollouts"

// env is the environment of all tests. Each has its own namespace.
var env *neighbours.Env

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "argorollouts", Program: "Argo Rollouts",
		Modules: []string{argoRollouts},
		Before:  start,
	}.Run(m, &env))
}

// start installs the kinds of Argo Rollouts and starts its controller.
func start(ctx context.Context, e *neighbours.Env) error {
	if err := e.InstallCRDs(ctx, argoRollouts, "manifests/crds/*-crd.yaml"); err != nil {
		return err
	}
	_, err := e.StartProgram("rollouts-controller", nil,
		"--leader-elect=false", "--metricsPort=0", "--healthzPort=0")
	return err
}
