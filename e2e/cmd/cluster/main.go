// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a Kubernetes API server with tagpin as its webhook until it is interrupted,
// so that you can try tagpin with kubectl.
//
//	cd e2e && go run ./cmd/cluster
//
// It prints its progress to stderr, and what to try to stdout. The Enter key moves a tag. It leaves
// nothing behind except the binaries of Kubernetes in the user's cache folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/playground"
)

func main() { playground.Main("cluster", start) }

// start starts the cluster, and prepares what the guide uses.
func start(ctx context.Context, progress io.Writer) (*playground.Playground, error) {
	c, err := cluster.Start(ctx, progress)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, c); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return &playground.Playground{
		Guide: guide(c),
		Commands: map[string]func(context.Context) (string, error){
			"": func(context.Context) (string, error) { return moveTag(c) },
		},
		Background: func(ctx context.Context) error { return keepAccounts(ctx, c.Client) },
		Stop:       c.Stop,
	}, nil
}

func moveTag(c *cluster.Cluster) (said string, err error) {
	digest, err := c.Open.PushImage(movingTag)
	return fmt.Sprintf("%s/%s is now %s", c.Open.Host, movingTag, digest), err
}
