// SPDX-License-Identifier: Apache-2.0

// Demo shows what tagpin does, without a cluster: an embedded registry with a few images, the real tagpin-webhook over
// TLS, and the AdmissionReviews that an API server would send.
//
//	go run ./hack/demo
//
// It fails where an answer is not the expected one, and leaves nothing behind.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
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

// limit is how long the demo may run once everything is built.
const limit = 2 * time.Minute

// run builds tagpin-webhook, tells the whole story and removes what it wrote.
func run(ctx context.Context, s *screen, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "tagpin-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := func(ctx context.Context) error {
		fmt.Fprintln(progress, "building tagpin-webhook: minutes from empty caches, seconds after that")
		return buildWebhook(ctx, dir, progress)
	}
	return afterBuild(ctx, build, func(ctx context.Context) error { return story(ctx, dir, s) })
}

// afterBuild calls build, which takes as long as it takes, and then tell, which has to end within
// limit.
func afterBuild(ctx context.Context, build, tell func(context.Context) error) error {
	if err := build(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return tell(ctx)
}

// story starts the registry and tagpin-webhook in dir and tells each chapter.
func story(ctx context.Context, dir string, s *screen) error {
	st, err := newStage(ctx, dir)
	if err != nil {
		return err
	}
	defer st.close()
	s.say("A registry with TLS at %s, and tagpin-webhook at %s. No cluster: the reviews are as an API server sends them.", st.registry, st.webhook)
	chapters := []func(context.Context, *stage, *screen) error{deployment, cronJob, dryRun, movedTag}
	for _, chapter := range chapters {
		if err := chapter(ctx, st, s); err != nil {
			return err
		}
	}
	s.say("That is it. `make cluster` has the same behind a real API server.")
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
	s.say("Each tag became the digest that the registry has for it now. The text before @ stays the author's own.")
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
	s.say("Its template is pinned, so that all its Jobs run one image until somebody deploys another.")
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
	proposed := annotation(after, "tagpin.dev/proposed-pins")
	s.added("tagpin.dev/proposed-pins", proposed)
	s.say("Nothing is changed but an annotation: what would be pinned.")
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
	s.say("It keeps its pin: applying a manifest again rolls out nothing that nobody asked for.")
	if err := expect(imagesOf(again)["app"], old); err != nil {
		return err
	}
	s.title("A fresh Deployment of the same tag")
	fresh, err := st.admit(ctx, "enforce", manifest, nil)
	if err != nil {
		return err
	}
	s.images(manifest, fresh)
	s.say("It gets the digest of now: what was just pushed is what is deployed.")
	if old == st.pin("shop/web:1.4") {
		return fmt.Errorf("the tag did not move")
	}
	return expect(imagesOf(fresh)["app"], st.pin("shop/web:1.4"))
}

func expect(got, want string) error {
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}
