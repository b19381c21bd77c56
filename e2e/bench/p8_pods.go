// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/load"
	"github.com/tagpin/tagpin/e2e/tools"
	"github.com/tagpin/tagpin/hack/bench/report"
	"github.com/tagpin/tagpin/hack/standalone"
)

// floorLabel is the label of namespaces whose pods go to the floor instead of to tagpin.
const floorLabel = "bench.tagpin.dev/floor"

// podsPerSecond measures row P8: how many pods a second several creators can create with tagpin and
// with the floor, whose registrations differ only in the address. It also counts the calls for
// pinned pods. The pods belong to ReplicaSets: those of no controller are deploys, for which tagpin
// asks the registry, at most as often as the config allows. They are created as a dry run, so that
// the disk of etcd does not matter.
func (b *bench) podsPerSecond(ctx context.Context) (err error) {
	stop, err := b.startFloor(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	images, err := b.push("pods", 10)
	if err != nil {
		return err
	}
	withTagpin, err := b.newNamespace(ctx, "tagpin-")
	if err != nil {
		return err
	}
	withFloor, err := b.newNamespace(ctx, "floor-")
	if err != nil {
		return err
	}
	err = errors.Join(b.switchOn(ctx, withTagpin, cluster.ModeLabel, images[0]),
		b.switchOn(ctx, withFloor, floorLabel, images[0]))
	if err != nil {
		return err
	}
	tagpin, errTagpin := b.replicas(ctx, withTagpin, images)
	floor, errFloor := b.replicas(ctx, withFloor, images)
	if err := errors.Join(errTagpin, errFloor); err != nil {
		return err
	}
	for _, creators := range []int{8, 32} {
		if err := b.comparePods(ctx, creators, tagpin, floor); err != nil {
			return err
		}
	}
	return b.pinnedPods(ctx, withTagpin)
}

// comparePods compares the rates with tagpin and with the floor in rounds.
func (b *bench) comparePods(
	ctx context.Context, creators int, withTagpin, withFloor load.Attempt,
) error {
	rounds, n := 7, 1000
	if b.quick {
		rounds, n = 1, 200
	}
	var ratios []float64
	for round := range rounds + 1 { // the first round warms up
		floor, errFloor := createPods(ctx, creators, n, withFloor)
		tagpin, errTagpin := createPods(ctx, creators, n, withTagpin)
		if err := errors.Join(errFloor, errTagpin); err != nil {
			return err
		}
		if round > 0 {
			ratios = append(ratios, tagpin/floor)
			b.report.Sample(fmt.Sprintf("Pods/%d", creators), report.Of(tagpin, "pods/s"),
				report.Of(floor, "floor-pods/s"), report.Of(tagpin/floor, "rate/floor"))
		}
	}
	b.report.AtLeast("P8", fmt.Sprintf("pods/s through an API server, %d creators ÷ with the floor",
		creators), report.Median(ratios), 0.95, "")
	return nil
}

// createPods returns how many pods were created in a second.
func createPods(ctx context.Context, creators, n int, attempt load.Attempt) (float64, error) {
	r := load.Start(ctx, load.Options{N: n, AtOnce: creators}, attempt).Wait()
	if r.Pinned != n {
		return 0, fmt.Errorf("creating pods: %s", r)
	}
	return float64(n) / r.Took.Seconds(), nil
}

// replicas creates the first pod of a ReplicaSet for each image, and returns how to create further
// ones as a dry run. The ReplicaSets themselves don't exist.
func (b *bench) replicas(ctx context.Context, ns string, images []string) (load.Attempt, error) {
	api := b.Client.CoreV1().Pods(ns)
	for i := range images {
		_, err := api.Create(ctx, replica(fmt.Sprint("first-", i), i, images), metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, i int) (bool, error) {
		pod := replica(fmt.Sprint("load-", i), i, images)
		stored, err := clustertest.DryRun(ctx, b.Client, ns, pod)
		return err == nil && isPinned(stored.Spec.Containers[0].Image), err
	}, nil
}

// replica returns a pod of the ReplicaSet of image number i.
func replica(name string, i int, images []string) *corev1.Pod {
	i %= len(images)
	pod := clustertest.Pod(name, images[i])
	pod.Labels["pod-template-hash"] = fmt.Sprint("hash", i)
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app(i), Controller: new(true),
		UID: types.UID(fmt.Sprintf("0c8e3a52-1f0b-4d3c-9b1e-%012d", i)),
	}}
	return pod
}

// pinnedPods counts the calls for pods whose images have digests.
func (b *bench) pinnedPods(ctx context.Context, ns string) error {
	const reviews = "tagpin_admission_reviews_total"
	digest, err := b.Open.PushImage("pods/pinned:1")
	if err != nil {
		return err
	}
	before, err := b.Tagpin.Metric(ctx, reviews)
	if err != nil {
		return err
	}
	for i := range 100 {
		pod := clustertest.Pod(fmt.Sprint("pinned-", i), b.Open.Host+"/pods/pinned:1@"+digest)
		if _, err := clustertest.DryRun(ctx, b.Client, ns, pod); err != nil {
			return err
		}
	}
	after, err := b.Tagpin.Metric(ctx, reviews)
	b.report.AtMost("P8", "100 pinned pods: calls", after-before, 0, "")
	return err
}

// startFloor starts the floor of hack/bench, and installs a copy of tagpin's registration for it.
func (b *bench) startFloor(ctx context.Context) (stop func() error, err error) {
	module, err := tools.Module(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tagpin-floor-")
	if err != nil {
		return nil, err
	}
	leaf, err := b.CA.Issue()
	if err != nil {
		return nil, err
	}
	address, err := standalone.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	process := &child.Process{
		Path: filepath.Join(dir, "bench"), Args: []string{"floor", dir, port},
		LogFile: filepath.Join(dir, "log"),
	}
	stop = func() error { return errors.Join(process.Kill(), os.RemoveAll(dir)) }
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), leaf.CertPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), leaf.KeyPEM, 0o600))
	if err == nil {
		// The floor stays in the other module, because this one lacks some of its dependencies.
		err = tools.Go(ctx, filepath.Dir(module), "build", "-o", process.Path, "./hack/bench")
	}
	if err == nil {
		err = process.Start()
	}
	if err == nil {
		err = b.InstallCopy(ctx, "zz-floor", floorLabel, "https://"+address)
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}
