// SPDX-License-Identifier: Apache-2.0

// Command node runs a whole Kubernetes cluster with one node until it is interrupted. tagpin is
// installed in it by its chart, so that you can see what pods run.
//
//	cd e2e && go run ./cmd/node
//
// It prints its progress to stderr, and what to try to stdout. What is typed moves a tag, or
// switches the registry off and on. It leaves nothing behind except the programs in the user's
// cache folder. It needs Linux and root.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/playground"
)

func main() { playground.Main("node", start) }

// start starts the node, installs tagpin, and prepares what the guide uses.
func start(ctx context.Context, progress io.Writer) (*playground.Playground, error) {
	n, err := node.Start(ctx, node.Options{Progress: progress})
	if err != nil {
		return nil, err
	}
	s := &shop{node: n}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	text, err := guide(ctx, n)
	if err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return &playground.Playground{
		Guide: text,
		Commands: map[string]func(context.Context) (string, error){
			"": s.moveTag,
			"down": func(context.Context) (string, error) {
				n.Registry.SetDown(true)
				return "the registry answers 503", nil
			},
			"up": func(context.Context) (string, error) {
				n.Registry.SetDown(false)
				return "the registry works", nil
			},
		},
		Stop: n.Stop,
	}, nil
}

const (
	namespace = "shop"
	// movingTag is the tag that the Enter key moves.
	movingTag = "shop/web:1"
	otherTag  = "shop/web:2"
)

// shop is what the guide deploys.
type shop struct {
	node  *node.Node
	moves int // of the tag
}

// open installs tagpin, pushes the images, and creates the namespace.
func (s *shop) open(ctx context.Context) error {
	if err := s.node.InstallTagpin(ctx); err != nil {
		return err
	}
	if _, err := s.moveTag(ctx); err != nil {
		return err
	}
	if _, err := s.push(ctx, otherTag, "another version"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create", "namespace", namespace},
		{"label", "namespace", namespace, node.ModeLabel + "=enforce"},
	} {
		if _, _, err := s.node.RunKubectl(ctx, nil, args...); err != nil {
			return err
		}
	}
	return s.wait(ctx)
}

// wait waits until tagpin pins: the servers write the rules of the registration when one of them
// has reached itself through the Service, which takes up to a minute.
func (s *shop) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		image, _, err := s.node.RunKubectl(ctx, nil, "--namespace", namespace, "run", "probe",
			"--image", s.node.Registry.Host+"/"+movingTag, "--dry-run=server",
			"--output=jsonpath={.spec.containers[0].image}")
		if err == nil && strings.Contains(image, "@") {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return errors.Join(errors.New("tagpin does not pin"), err)
		}
	}
}

// moveTag pushes an image whose program says how often the tag was moved.
func (s *shop) moveTag(ctx context.Context) (said string, err error) {
	code := fmt.Sprintf("version 1, push %d", s.moves+1)
	digest, err := s.push(ctx, movingTag, code)
	s.moves++
	return fmt.Sprintf("%s/%s is now %s, whose program answers %q",
		s.node.Registry.Host, movingTag, digest, code), err
}

func (s *shop) push(ctx context.Context, tag, code string) (digest string, err error) {
	image, err := s.node.AppImage(ctx, code+"\n")
	if err != nil {
		return "", err
	}
	return s.node.Registry.Push(tag, image)
}
