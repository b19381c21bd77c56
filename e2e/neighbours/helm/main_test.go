// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// env is the environment of all tests. Each has its own namespace.
var env *neighbours.Env

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "helm", Program: "Helm",
		Modules: []string{"helm.sh/helm/v3", "helm.sh/helm/v4"},
		Parts:   []string{"three"},
		Before:  func(context.Context, *neighbours.Env) error { return nil },
	}.Run(m, &env))
}
