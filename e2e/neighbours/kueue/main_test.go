// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// The environment of all tests. Each has its own namespace.
var (
	env   *neighbours.Env
	kueue *installation
)

const module = "sigs.k8s.io/kueue"

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "kueue", Program: "Kueue", Modules: []string{module}, Before: start,
	}.Run(m, &env))
}

// flavor is the only kind of resources that queues have.
const flavor = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: default}
`

// start installs Kueue, starts its manager and creates a flavor.
func start(ctx context.Context, e *neighbours.Env) (err error) {
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if kueue, err = newInstallation(limited, e); err != nil {
		return err
	}
	if err := e.ApplyObjects(limited, kueue.objects); err != nil {
		return err
	}
	if err := kueue.start(limited); err != nil {
		return err
	}
	objects, err := neighbours.Objects(flavor)
	if err != nil {
		return err
	}
	return e.ApplyObjects(limited, objects)
}
