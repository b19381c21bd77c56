// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// env is the environment of all tests. Each has its own namespace.
var env *neighbours.Env

const (
	sourceController    = "github.com/fluxcd/source-controller"
	kustomizeController = "github.com/fluxcd/kustomize-controller"
	ssa                 = "github.com/fluxcd/pkg/ssa" // for helmdrift
)

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "flux", Program: "Flux",
		Modules: []string{kustomizeController, sourceController, ssa},
		Before:  start,
	}.Run(m, &env))
}

// start installs Flux's kinds and starts its two controllers.
func start(ctx context.Context, e *neighbours.Env) error {
	for _, module := range []string{sourceController, kustomizeController} {
		if err := e.InstallCRDs(ctx, module, "config/crd/bases/*.yaml"); err != nil {
			return err
		}
	}
	storage, err := neighbours.FreeAddress(ctx)
	if err != nil {
		return err
	}
	common := []string{"--metrics-addr=0", "--health-addr=0", "--enable-leader-election=false"}
	_, err = e.StartProgram("kustomize-controller", nil, common...)
	if err != nil {
		return err
	}
	source, err := e.StartProgram("source-controller", nil, append(common,
		"--storage-path="+e.Scratch, "--storage-addr="+storage, "--storage-adv-addr="+storage)...)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return source.Wait(limited, func(ctx context.Context) error {
		return neighbours.Serves(ctx, "http://"+storage)
	})
}
