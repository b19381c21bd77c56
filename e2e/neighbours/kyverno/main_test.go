// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// The environment of all tests. Each has its own namespace.
var (
	env     *neighbours.Env
	kyverno *installation
)

const module = "github.com/kyverno/kyverno"

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "kyverno", Program: "Kyverno", Modules: []string{module}, Before: start,
	}.Run(m, &env))
}

// start installs Kyverno and starts its admission controller.
func start(ctx context.Context, e *neighbours.Env) (err error) {
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if kyverno, err = newInstallation(limited, e); err != nil {
		return err
	}
	if err := e.ApplyObjects(limited, kyverno.objects); err != nil {
		return err
	}
	return kyverno.start(limited)
}
