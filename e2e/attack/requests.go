// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	largeReviews = 100
	largeReview  = 3<<20 - 64<<10 // the API server accepts 3 MiB
)

// LargeReviews creates a hundred pods of 3 MiB at the same time, with images of a registry that
// hangs.
func LargeReviews() Attack {
	large := strings.Repeat("x", largeReview)
	return serving("large-reviews", hang, largeReviews, func(h *Host, _ *Victim, i int) any {
		return largePod(h.image(i), large)
	})
}

// largePod returns a pod with a large argument.
func largePod(image, argument string) *corev1.Pod {
	pod := newPod([]string{image})
	pod.Spec.Containers[0].Args = []string{argument}
	return pod
}

// EscapedReviews creates pods with three megabytes of a character that the API server writes as six
// bytes. Their reviews are larger than any that tagpin reads.
func EscapedReviews() Attack {
	return Attack{"escaped-reviews", func(
		_ context.Context, t *Tenant, target *Victim,
	) (Round, error) {
		escaped := strings.Repeat("<", largeReview)
		const pods = 20
		return inParallel(pods, func(ctx context.Context, _ int) {
			_, _ = t.deploy(ctx, largePod(target.images()[0], escaped))
		}), nil
	}}
}

const (
	slowConnections = 64
	headerBytes     = 1 << 20
	holdHeaders     = 5 * time.Second
)

// SlowHeaders opens many connections to each port of tagpin, sends a megabyte of tiny header lines
// on each, and keeps them open.
func SlowHeaders() Attack {
	return Attack{"endless-headers", func(_ context.Context, t *Tenant, _ *Victim) (Round, error) {
		request := "GET / HTTP/1.1\r\nHost: tagpin\r\n" +
			strings.Repeat("a:b\r\n", headerBytes/len("a:b\r\n"))
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, holdHeaders)
			defer cancel()
			ports := t.place.Ports
			together(slowConnections*len(ports), func(i int) {
				t.send(ctx, ports[i%len(ports)], request)
			})
			return nil
		}, nil
	}}
}

// send sends a text to a port and keeps the connection open until ctx ends or the server closes it.
func (t *Tenant) send(ctx context.Context, port Port, text string) {
	conn, err := t.place.Dial(ctx, "tcp", port.Address)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close() //nolint:errcheck // the request is unfinished
	var both io.ReadWriter = conn
	if port.TLS {
		config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it attacks any server
		secured := tls.Client(conn, config)
		if secured.HandshakeContext(ctx) == nil {
			both = secured
		}
	}
	if _, err := io.WriteString(both, text); err == nil {
		_, _ = io.Copy(io.Discard, both)
	}
}

// webhook returns tagpin's port for reviews.
func (t *Tenant) webhook() Port {
	for _, p := range t.place.Ports {
		if p.TLS {
			return p
		}
	}
	return Port{}
}

// reviewOf returns a request that pretends to come from an API server, for a Pod in a namespace.
// Its Content-Length is larger than its body by missing bytes.
func reviewOf(namespace string, missing int, images ...string) string {
	spec, _ := json.Marshal(podSpec(images)) // can't fail
	body := fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",`+
		`"kind":{"group":"","version":"v1","kind":"Pod"},"namespace":%q,"operation":"CREATE",`+
		`"userInfo":{"username":"u"},"object":{"spec":%s,"x":"%s"`,
		namespace, spec, strings.Repeat("x", min(missing, 128<<10)))
	if missing == 0 {
		body += "}}}"
	}
	return fmt.Sprintf("POST /enforce?timeout=30s HTTP/1.1\r\nHost: tagpin\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body)+missing, body)
}

// StalledReviews sends the beginnings of large reviews with invented namespaces, as any pod could,
// and nothing more. Large objects of others must be pinned meanwhile.
func StalledReviews() Attack {
	return Attack{"stalled-reviews", func(
		_ context.Context, t *Tenant, target *Victim,
	) (Round, error) {
		large := largePod(target.images()[0], strings.Repeat("x", 1<<20))
		return func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			const connections, missing = 16, 15 << 20
			over := make(chan struct{})
			go func() {
				defer close(over)
				together(connections, func(i int) {
					t.send(ctx, t.webhook(), reviewOf(fmt.Sprintf("made-up-%d", i), missing, "x"))
				})
			}()
			defer func() { cancel(); <-over }()
			for range 5 {
				time.Sleep(time.Second)
				if _, err := t.deploy(ctx, large.DeepCopy()); err != nil {
					return fmt.Errorf("a large object was not admitted during the attack: %w", err)
				}
			}
			return nil
		}, nil
	}}
}

// WaitingReviews sends reviews with invented namespaces, as any pod could: more than tagpin accepts
// connections. They wait for registries that hang. Each has images of several registries, so that
// no registry's own queue bounds them.
func WaitingReviews() Attack {
	return Attack{"waiting-reviews", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		const connections, registries = 1100, 16
		hosts, err := t.serveAll(ctx, slices.Repeat([]handler{hang}, registries)...)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*holdHeaders)
			defer cancel()
			together(connections, func(i int) {
				var images []string
				for _, h := range hosts {
					images = append(images, h.image(i))
				}
				t.send(ctx, t.webhook(), reviewOf(fmt.Sprintf("made-up-%d", i), 0, images...))
			})
			return nil
		}, nil
	}}
}

// LongAnnotations creates many Deployments at the same time. Their annotations, which tagpin reads,
// are as long as allowed, and their images are at a registry that hangs.
func LongAnnotations() Attack {
	const deployments = 200
	long := map[string]string{"tagpin.dev/refresh": strings.Repeat("x", 250<<10)}
	return serving("long-annotations", hang, deployments, func(h *Host, _ *Victim, i int) any {
		d := newDeployment([]string{h.image(i)})
		d.Annotations, d.Spec.Template.Annotations = long, long
		return d
	})
}

// LongTexts creates twenty pods at the same time, each with an image at a registry that hangs, and
// an image whose text has nearly three megabytes.
func LongTexts() Attack {
	const pods = 20
	long := strings.Repeat("\x7f", largeReview)
	return serving("long-texts", hang, pods, func(h *Host, _ *Victim, i int) any {
		return newPod([]string{h.image(i), long})
	})
}

// Siblings creates thousands of pods with invented owners, each of which would cause a list of
// pods.
func Siblings() Attack {
	return Attack{"made-up-owners", func(_ context.Context, t *Tenant, target *Victim) (Round, error) {
		image := target.images()[0]
		const callers, each = 16, 32
		return inParallel(callers, func(ctx context.Context, _ int) {
			for range each {
				id := uuid.NewUUID()
				owner := Owner{UID: id, Revision: string(id)[:8]}
				_, _ = t.deploy(ctx, owned(newPod([]string{image}), owner))
			}
		}), nil
	}}
}

// LargeSiblings creates large pods in several namespaces. Some are much larger in the API server's
// answers than in its store, because it writes a character as six bytes. The others are of random
// text, which it can't compress. Then it creates pods that claim to be of the same revision, each
// with another owner, each of which causes a list of the large pods.
func LargeSiblings() Attack {
	return Attack{"large-siblings", func(
		ctx context.Context, t *Tenant, target *Victim,
	) (Round, error) {
		const namespaces, callers, each = 8, 8, 4
		image := target.images()[0]
		if err := t.largeRevision(ctx, target, namespaces); err != nil {
			return nil, err
		}
		return inParallel(namespaces*callers, func(ctx context.Context, i int) {
			for range each {
				owner := Owner{UID: uuid.NewUUID(), Revision: largeRevision}
				_, _ = t.others[i%namespaces].deploy(ctx, owned(newPod([]string{image}), owner))
			}
		}), nil
	}}
}

// AbandonedLists creates pods with very many images, each of which causes a list of large pods.
// Each request has a second, after which its list goes on.
func AbandonedLists() Attack {
	return Attack{"abandoned-lists", func(
		ctx context.Context, t *Tenant, target *Victim,
	) (Round, error) {
		const namespaces, callers, each, containers = 4, 8, 8, 2000
		if err := t.largeRevision(ctx, target, namespaces); err != nil {
			return nil, err
		}
		var images []string
		for i := range containers {
			path := strings.Repeat("long/", 44)
			images = append(images, fmt.Sprintf("registry.example/%s:%0120d", path+"app", i))
		}
		return inParallel(namespaces*callers, func(ctx context.Context, i int) {
			for range each {
				owner := Owner{UID: uuid.NewUUID(), Revision: largeRevision}
				t.others[i%namespaces].createWithin(ctx, time.Second, owned(newPod(images), owner))
			}
		}), nil
	}}
}

// createWithin creates a pod by a request with a timeout. Whether it succeeds does not matter.
func (t *Tenant) createWithin(ctx context.Context, timeout time.Duration, pod *corev1.Pod) {
	_ = t.Client.CoreV1().RESTClient().Post().Namespace(t.Namespace).Resource("pods").
		VersionedParams(new(dryRun()), scheme.ParameterCodec).Timeout(timeout).Body(pod).Do(ctx)
}

const largeRevision = "large"

// largeRevision creates large pods of a revision in further namespaces.
func (t *Tenant) largeRevision(ctx context.Context, target *Victim, namespaces int) error {
	const large = 3 // of each kind
	image := target.images()[0]
	pinned := func(text string) *corev1.Pod {
		pod := largePod(target.Pins[image], text)
		pod.Labels = map[string]string{"pod-template-hash": largeRevision}
		pod.Spec.SchedulerName = "nobody"
		return pod
	}
	if err := t.more(ctx, namespaces); err != nil {
		return err
	}
	for _, other := range t.others {
		pods := other.Client.CoreV1().Pods(other.Namespace)
		for range large {
			for _, text := range []string{randomText(1 << 20), strings.Repeat("<", 600<<10)} {
				if _, err := pods.Create(ctx, pinned(text), metav1.CreateOptions{}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// randomText returns size random characters.
func randomText(size int) string {
	random := make([]byte, size/2)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	return hex.EncodeToString(random)
}
