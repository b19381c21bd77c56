// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/tools"
)

// env is the environment of all tests.
var env *cluster.Cluster

// crds returns the modules with the CRDs of the kinds in deploy/templates.
func crds() []tools.Source {
	return []tools.Source{
		{
			Path: "github.com/argoproj/argo-rollouts", Version: "v1.8.3",
			Sum:   "h1:blbtQva4IK9r6gFh+dWkCrLnFdPOWiv9ubQYu36qeaA=",
			Files: []string{"manifests/crds/rollout-crd.yaml"},
		},
		{
			Path: "sigs.k8s.io/jobset", Version: "v0.10.1",
			Sum:   "h1:u8QKifNsrWVrlRFe6w2ofYTqFT9ma2DRHxfeB2m9xyU=",
			Files: []string{"config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml"},
		},
		{
			Path: "sigs.k8s.io/lws", Version: "v0.7.0",
			Sum:   "h1:qWfzX8+UBak+Hq0+m/PuE3uO0mp/3dmm5q/h/7z31A8=",
			Files: []string{"config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml"},
		},
		{
			Path: "github.com/openkruise/kruise", Version: "v1.8.0",
			Sum: "h1:cU5XG9tur17j/CuY+iCTlxOtJ0GNTtJjMLurhh+25YQ=",
			Files: []string{
				"config/crd/bases/apps.kruise.io_clonesets.yaml",
				"config/crd/bases/apps.kruise.io_statefulsets.yaml",
				"config/crd/bases/apps.kruise.io_daemonsets.yaml",
				"config/crd/bases/apps.kruise.io_broadcastjobs.yaml",
				"config/crd/bases/apps.kruise.io_advancedcronjobs.yaml",
				"config/crd/bases/apps.kruise.io_uniteddeployments.yaml",
			},
		},
		{
			Path: "knative.dev/serving", Version: "v0.46.0",
			Sum: "h1:OF4Jt+6xY4nw0lFb9G3rEEJPZcNx1k2Kf1IhhJp/Rg4=",
			Files: []string{
				"config/core/300-resources/service.yaml",
				"config/core/300-resources/configuration.yaml",
			},
		},
		{
			Path: "github.com/tektoncd/pipeline", Version: "v1.0.0",
			Sum: "h1:qq/BtjwtvZV7qhd6BnL5sGoBM4vVqpCtz/+hMbs6p94=",
			Files: []string{
				"config/300-crds/300-task.yaml",
				"config/300-crds/300-stepaction.yaml",
				"config/300-crds/300-pipeline.yaml",
			},
		},
		{
			Path: "github.com/argoproj/argo-workflows/v3", Version: "v3.6.7",
			Sum: "h1:3vT0ygPVtZxSSUaZsCeI+Th/Bm9Cfc2J1FQOGe2iKoM=",
			Files: []string{
				"manifests/base/crds/minimal/argoproj.io_workflowtemplates.yaml",
				"manifests/base/crds/minimal/argoproj.io_cronworkflows.yaml",
			},
		},
		{
			Path: "github.com/prometheus-operator/prometheus-operator", Version: "v0.82.2",
			Sum: "h1:qalPLM8wkvCtu9aHcoSKGDpCZR3aWRMKeHev5WomTBQ=",
			Files: []string{
				"example/prometheus-operator-crd/monitoring.coreos.com_prometheuses.yaml",
				"example/prometheus-operator-crd/monitoring.coreos.com_prometheusagents.yaml",
				"example/prometheus-operator-crd/monitoring.coreos.com_alertmanagers.yaml",
				"example/prometheus-operator-crd/monitoring.coreos.com_thanosrulers.yaml",
			},
		},
	}
}

func TestMain(m *testing.M) {
	install := func(ctx context.Context, c *cluster.Cluster) error {
		return c.InstallCRDs(ctx, crds())
	}
	os.Exit(cluster.Tests{Before: install}.Run(m, &env))
}
