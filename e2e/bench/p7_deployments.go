// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/hack/bench/report"
)

// apiRequests is client-go's counter of requests to the API server.
const apiRequests = "rest_client_requests_total"

// deployments measures row P7: what 1,000 pods of ten Deployments cost the registry and the API
// server. The Deployments are older than tagpin, so that their templates are not pinned, and a real
// kube-controller-manager creates the pods.
func (b *bench) deployments(ctx context.Context) error {
	const apps, prefix = 10, "deployments"
	pods := 1000
	if b.quick {
		pods = 100
	}
	f, err := b.newFleet(ctx, prefix, apps, cluster.ModeLabel)
	if err != nil {
		return err
	}
	reads, err := b.Tagpin.Metric(ctx, apiRequests, `method="GET"`)
	if err != nil {
		return err
	}
	if reads == 0 {
		return fmt.Errorf("tagpin has no %s", apiRequests)
	}
	lookups := b.lookups(prefix, apps)
	if err := f.scale(ctx, apps, pods/apps); err != nil {
		return err
	}
	readsAfter, err := b.Tagpin.Metric(ctx, apiRequests, `method="GET"`)
	if err != nil {
		return err
	}
	if err := f.checkPinned(ctx, pods); err != nil {
		return err
	}
	perPod := func(n float64) float64 { return n / float64(pods) }
	requests := perPod(float64(b.lookups(prefix, apps) - lookups))
	reads = perPod(readsAfter - reads)
	what := fmt.Sprintf("%d pods of %d unpinned Deployments: ", pods, apps)
	b.report.Sample("Deployments", report.Of(requests, "requests/pod"), report.Of(reads, "reads/pod"))
	b.report.AtMost("P7", what+"requests to the registry per pod", requests, 0.02, "2")
	b.report.AtMost("P7", what+"API reads per pod", reads, 0.05, "2")
	return nil
}

// fleet is a namespace with many Deployments of one image each. They are older than the namespace's
// label, so that their templates are not pinned.
type fleet struct {
	*bench
	ns string
}

// newFleet creates Deployments without pods, and then labels their namespace.
func (b *bench) newFleet(
	ctx context.Context, prefix string, apps int, label string,
) (*fleet, error) {
	images, err := b.push(prefix, apps)
	if err != nil {
		return nil, err
	}
	f := &fleet{bench: b}
	if f.ns, err = b.newNamespace(ctx, prefix+"-"); err != nil {
		return nil, err
	}
	for i, image := range images {
		pod := clustertest.Pod(app(i), image)
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: app(i)}}
		d.Spec.Replicas = new(int32)
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: pod.Labels}
		d.Spec.Template.Labels, d.Spec.Template.Spec = pod.Labels, pod.Spec
		_, err := b.Client.AppsV1().Deployments(f.ns).Create(ctx, d, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
	}
	probe, err := b.push(prefix+"-probe", 1)
	if err != nil {
		return nil, err
	}
	return f, b.switchOn(ctx, f.ns, label, probe[0])
}

// atOnce is the number of requests to the API server that scale makes at a time.
const atOnce = 16

func app(i int) string { return fmt.Sprint("app", i) }

// scale gives the first apps Deployments the same number of replicas, and returns when the
// controllers have created all pods.
func (f *fleet) scale(ctx context.Context, apps, replicas int) error {
	api := f.Client.AppsV1().Deployments(f.ns)
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	errs := make([]error, apps)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < apps; i = int(next.Add(1)) - 1 {
				_, errs[i] = api.Patch(ctx, app(i), types.MergePatchType, patch, metav1.PatchOptions{})
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return until(ctx, "the pods", func(ctx context.Context) error {
		list, err := api.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		got := 0
		for i := range list.Items {
			got += int(list.Items[i].Status.Replicas)
		}
		if want := apps * replicas; got < want {
			return fmt.Errorf("there are %d pods, want %d", got, want)
		}
		return nil
	})
}

// checkPinned returns an error unless want pods are pinned.
func (f *fleet) checkPinned(ctx context.Context, want int) error {
	list, err := f.Client.CoreV1().Pods(f.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	pinned := 0
	for i := range list.Items {
		if isPinned(list.Items[i].Spec.Containers[0].Image) {
			pinned++
		}
	}
	if pinned != want {
		return fmt.Errorf("%d of %d pods are pinned, want %d", pinned, len(list.Items), want)
	}
	return nil
}
