// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// deployFile returns the content of a file in the folder deploy.
func deployFile(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEndFitsTheGracePeriod checks that the shutdown takes less time than the kubelet gives it, and
// that reviews under way have as long as an API server waits for them.
func TestEndFitsTheGracePeriod(t *testing.T) {
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal(deployFile(t, "kustomize", "deployment.yaml"), &deployment); err != nil {
		t.Fatal(err)
	}
	grace := time.Duration(*deployment.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	if end := drainTime + shutdownTime + sendTime; end+time.Second > grace {
		t.Errorf("the shutdown takes up to %s, want a second less than the grace period, %s", end, grace)
	}
	var schema struct {
		Properties struct {
			TimeoutSeconds struct{ Maximum int } `json:"timeoutSeconds"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(deployFile(t, "chart", "values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	longest := time.Duration(schema.Properties.TimeoutSeconds.Maximum) * time.Second
	if longest <= 0 || longest > reviewTime {
		t.Errorf("the chart accepts timeoutSeconds of %s, want at most reviewTime, %s", longest, reviewTime)
	}
}
