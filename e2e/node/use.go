// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/tagpin/tagpin/e2e/tools"
)

// maxAnswer bounds how much of an answer is read.
const maxAnswer = 16 << 20

// RunKubectl runs kubectl as the administrator. The error of a failure includes its output.
func (n *Node) RunKubectl(ctx context.Context, stdin io.Reader, args ...string) (
	stdout, stderr string, err error,
) {
	cmd := exec.CommandContext(ctx, n.binary("kubectl"), args...)
	cmd.Stdin = stdin
	return n.client(cmd, "kubectl", args)
}

// RunShell runs a command line in the repository's root as the administrator, with kubectl and helm
// in its PATH.
func (n *Node) RunShell(ctx context.Context, line string) (stdout string, err error) {
	helm, err := tools.Helm(ctx, n.options.Progress)
	if err != nil {
		return "", err
	}
	for name, target := range map[string]string{"kubectl": n.binary("kubectl"), "helm": helm["4"]} {
		if err := os.Symlink(target, n.file("bin/"+name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", "PATH='"+n.file("bin")+"':$PATH\n"+line)
	cmd.Dir = n.root
	stdout, _, err = n.client(cmd, line, nil)
	return stdout, err
}

// client runs a client of the API server in the node's network.
func (n *Node) client(cmd *exec.Cmd, name string, args []string) (
	stdout, stderr string, err error,
) {
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.file("admin.kubeconfig"), "HOME="+n.Dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = n.namespaces.start(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s",
			name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), errs.String(), err
}

// Get returns the body of an answer with status 200, from an IP address in the node's network.
func (n *Node) Get(ctx context.Context, url string) (body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return string(data), err
}

// Describe returns the state of the pods, the events and the ends of the logs, for somebody who
// looks for the cause of a failure.
func (n *Node) Describe(ctx context.Context) string {
	var all strings.Builder
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "--output=wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		{
			"logs", "--namespace=" + TagpinNamespace, "--selector=app.kubernetes.io/name=tagpin",
			"--prefix", "--tail=30", "--ignore-errors",
		},
	} {
		out, stderr, _ := n.RunKubectl(ctx, nil, args...) // the output says what failed
		fmt.Fprintf(&all, "== kubectl %s\n%s%s\n", strings.Join(args, " "), out, stderr)
	}
	return all.String() + n.Logs()
}
