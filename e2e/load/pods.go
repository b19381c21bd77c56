// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/e2e/clustertest"
)

// pinMark is part of every pin that tagpin makes.
const pinMark = "@sha256:"

// Pods creates pods as a dry run, so that nothing is stored or started. Request number i creates
// the pod load-i with one of the images, in turn. The client must not have a rate limit.
func Pods(client kubernetes.Interface, namespace string, images []string) Attempt {
	return func(ctx context.Context, i int) (bool, error) {
		pod := clustertest.Pod(fmt.Sprintf("load-%d", i), images[i%len(images)])
		stored, err := clustertest.DryRun(ctx, client, namespace, pod)
		if err != nil {
			return false, err
		}
		return strings.Contains(stored.Spec.Containers[0].Image, pinMark), nil
	}
}
