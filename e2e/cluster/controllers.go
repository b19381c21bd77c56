// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/child"
)

// kwokModule is a module with stages that make pods run and nodes ready without a kubelet.
const kwokModule = "sigs.k8s.io/kwok"

// StartControllers starts kube-controller-manager, kube-scheduler and kwok, which plays the kubelet
// of the given number of nodes. They end with the cluster.
func (c *Cluster) StartControllers(ctx context.Context, nodes int) error {
	c.say("starting kube-controller-manager, kube-scheduler and kwok")
	stages, err := c.stages(ctx)
	if err != nil {
		return err
	}
	common := []string{
		"--kubeconfig=" + c.Kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
	for _, p := range []struct {
		name  string
		flags []string
	}{
		// No pod here uses the token of its service account. The controllers have accounts of their
		// own, as in clusters made by kubeadm: tagpin knows them by these. On a busy machine kwok's
		// heartbeats for nodes may be late. The nodes' pods would then become unready for ever, because
		// kwok makes them ready only once.
		{"kube-controller-manager", slices.Concat(common, []string{
			"--controllers=*,-serviceaccount-token-controller", "--node-monitor-grace-period=1h",
			"--use-service-account-credentials",
		})},
		{"kube-scheduler", common},
		{"kwok", []string{
			"--kubeconfig=" + c.Kubeconfig, "--config=" + stages, "--manage-all-nodes",
		}},
	} {
		process := &child.Process{
			Path: c.Kubernetes.File(p.name), Args: p.flags,
			LogFile: filepath.Join(c.dir, p.name+".log"),
		}
		if err := process.Start(); err != nil {
			return fmt.Errorf("starting %s: %w", p.name, err)
		}
		c.controllers = append(c.controllers, process)
	}
	return c.addNodes(ctx, nodes)
}

// dropFinalizers is in a stage of kwok 0.6. It deletes pods that a finalizer still holds, which a
// kubelet does not.
const dropFinalizers = "    finalizers:\n      empty: true\n"

// stages writes the stages of kwok's module to a file and returns its path.
func (c *Cluster) stages(ctx context.Context) (path string, err error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", kwokModule)
	cmd.Dir = c.Kubernetes.Module
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding module %s: %w", kwokModule, err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "kustomize", "stage")
	var all strings.Builder
	for _, stage := range []string{"node/fast", "node/heartbeat-with-lease", "pod/fast"} {
		files, err := filepath.Glob(filepath.Join(dir, stage, "*-*.yaml"))
		if err != nil || len(files) == 0 {
			return "", errors.Join(fmt.Errorf("%s has no stages", stage), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&all, "---\n%s\n", text)
		}
	}
	text := strings.ReplaceAll(all.String(), dropFinalizers, "")
	path = filepath.Join(c.dir, "stages.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (c *Cluster) addNodes(ctx context.Context, n int) error {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	for i := range n {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i)},
			Status:     corev1.NodeStatus{Allocatable: capacity, Capacity: capacity},
		}
		if _, err := c.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// ControllerLogs returns the logs of the controllers.
func (c *Cluster) ControllerLogs() string {
	var all strings.Builder
	for _, p := range c.controllers {
		fmt.Fprintf(&all, "== %s\n%s", p.LogFile, p.Log())
	}
	return all.String()
}
