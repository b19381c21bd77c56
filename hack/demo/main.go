// SPDX-License-Identifier: Apache-2.0

// Demo shows what tagpin does without a cluster. It starts an embedded registry with a few images
// and the real tagpin-webhook with TLS, and sends the AdmissionReviews that an API server would
// send.
//
//	go run ./hack/demo
//
// It fails if an answer is not the expected one. It removes all files that it creates.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tagpin/tagpin/hack/standalone"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, newScreen(os.Stdout), os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// timeout limits the duration of the demo after the build.
const timeout = 2 * time.Minute

// run builds tagpin-webhook and shows all chapters. It removes its files at the end.
func run(ctx context.Context, s *screen, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "tagpin-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := func(ctx context.Context) error {
		return standalone.Build(ctx, dir, "tagpin-webhook", progress)
	}
	return afterBuild(ctx, build, func(ctx context.Context) error { return show(ctx, dir, s) })
}

// afterBuild calls build, which has no time limit, and then show, which must end within timeout.
func afterBuild(ctx context.Context, build, show func(context.Context) error) error {
	if err := build(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return show(ctx)
}

// show starts the registry and tagpin-webhook, whose files are in dir, and shows all chapters.
func show(ctx context.Context, dir string, s *screen) error {
	st, err := newStage(ctx, dir)
	if err != nil {
		return err
	}
	defer st.close()
	s.say("A registry with TLS runs at %s, and tagpin-webhook at %s.",
		st.registry, st.webhook.Address)
	s.say("There is no cluster. The demo sends the same reviews as an API server.")
	chapters := []func(context.Context, *stage, *screen) error{deployment, cronJob, dryRun, movedTag}
	for _, chapter := range chapters {
		if err := chapter(ctx, st, s); err != nil {
			return err
		}
	}
	s.say("That is all. `make cluster` runs tagpin with a real API server.")
	return nil
}

func deployment(ctx context.Context, st *stage, s *screen) error {
	s.title("A Deployment is created")
	before := st.workload("apps/v1", "Deployment", st.image("shop/web:1.4"), st.image("shop/proxy"))
	after, err := st.admit(ctx, "enforce", before, nil)
	if err != nil {
		return err
	}
	s.images(before, after)
	s.say("Each image got the current digest of its tag. The text before @ did not change.")
	return expect(imagesOf(after)["app"], st.pin("shop/web:1.4"))
}

func cronJob(ctx context.Context, st *stage, s *screen) error {
	s.title("A CronJob is created")
	before := st.workload("batch/v1", "CronJob", st.image("shop/report:nightly"), "")
	after, err := st.admit(ctx, "enforce", before, nil)
	if err != nil {
		return err
	}
	s.images(before, after)
	s.say("Its template is pinned, so that all its Jobs run the same image until the next deployment.")
	return expect(imagesOf(after)["app"], st.pin("shop/report:nightly"))
}

func dryRun(ctx context.Context, st *stage, s *screen) error {
	s.title("A Pod is created in a namespace in dry-run mode")
	before := st.workload("v1", "Pod", st.image("shop/web:1.4"), "")
	after, err := st.admit(ctx, "dry-run", before, nil)
	if err != nil {
		return err
	}
	s.images(before, after)
	const annotation = "tagpin.dev/proposed-pins"
	proposed, _, _ := unstructured.NestedString(after, "metadata", "annotations", annotation)
	s.added(annotation, proposed)
	s.say("Only an annotation is added. It lists the pins that tagpin would make.")
	if err := expect(imagesOf(after)["app"], st.image("shop/web:1.4")); err != nil {
		return err
	}
	return expect(proposed, fmt.Sprintf(`{"app":%q}`, st.pin("shop/web:1.4")))
}

func movedTag(ctx context.Context, st *stage, s *screen) error {
	s.title("The tag shop/web:1.4 is moved, and the same manifest is applied again")
	manifest := st.workload("apps/v1", "Deployment", st.image("shop/web:1.4"), "")
	live, err := st.admit(ctx, "enforce", manifest, nil)
	if err != nil {
		return err
	}
	old := st.pin("shop/web:1.4")
	if err := st.push(ctx, "shop/web:1.4"); err != nil {
		return err
	}
	again, err := st.admit(ctx, "enforce", manifest, live)
	if err != nil {
		return err
	}
	s.images(manifest, again)
	s.say("It keeps its pin, so that applying a manifest again does not start a rollout.")
	if err := expect(imagesOf(again)["app"], old); err != nil {
		return err
	}
	s.title("Another Deployment with the same tag is created")
	fresh, err := st.admit(ctx, "enforce", manifest, nil)
	if err != nil {
		return err
	}
	s.images(manifest, fresh)
	s.say("It gets the current digest, so the image that was just pushed is deployed.")
	if old == st.pin("shop/web:1.4") {
		return fmt.Errorf("the tag did not move")
	}
	return expect(imagesOf(fresh)["app"], st.pin("shop/web:1.4"))
}

// expect returns an error if got is not want.
func expect(got, want string) error {
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}
