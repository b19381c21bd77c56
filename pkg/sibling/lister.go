// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/jsonwalk"
)

const (
	// maxPods is the maximum number of pods on one page.
	maxPods = 100
	// maxPage is the maximum number of bytes that are read of one page. A pod may have 1.5 MiB, and
	// most have a few KiB.
	maxPage = 64 << 20
	// maxLists is the maximum number of lists at a time. Each holds one pod in memory.
	maxLists = 32
	// smallPod is the maximum number of bytes of a pod that needs no room among large objects, and
	// maxPod that of any pod. The JSON of a pod is larger than what is stored of it, because the API
	// server writes some characters, such as <, as six bytes.
	smallPod = 128 << 10
	maxPod   = 4 << 20
	// largePod is the number of bytes that a large pod needs. The decoder doubles its buffer, and has
	// the former one meanwhile.
	largePod = 3 * maxPod
	// maxPerNamespace is the maximum number of lists of one namespace at a time. Anybody who may
	// create pods in it can invent owners, and each owner costs a list.
	maxPerNamespace = 4
	// maxWaiting is the maximum number of lists of one namespace that wait for their turn.
	maxWaiting = 1024
	// callTimeout is the maximum time for one request after its turn has come. It leaves time for a
	// registry within the API server's timeout.
	callTimeout = 5 * time.Second
)

// List lists one page of the pods that have the label of a revision, or of all pods of its
// namespace if the revision has no label. It calls pod with the JSON of each. pod must not keep the
// slice. The page begins at from, which is "" for the first page. next is the from of the next
// page, or "" after the last one. A List obeys the context. Its error is fair.ErrTooLarge if the
// page or one of its pods has too many bytes.
type List func(
	ctx context.Context, r Revision, from string, pod func(raw []byte) error,
) (next string, err error)

// Places returns a queue for lists, each of which is one request at a time.
func Places() *fair.Queue {
	return &fair.Queue{Capacity: maxLists, Share: maxPerNamespace, Backlog: maxWaiting}
}

// FromClient returns a List that requests pages of at most 100 pods from the API server. c is a
// client for the core group's v1. A request takes at most 5 s. large bounds the bytes of large
// pods.
func FromClient(c rest.Interface, large *fair.Queue) List { return newList(c, large, maxPage) }

// newList is FromClient for pages of at most maxPage bytes.
func newList(c rest.Interface, large *fair.Queue, maxPage int64) List {
	limits := fair.Items{Queue: large, Free: smallPod, Max: maxPod, Weight: largePod}
	return func(
		ctx context.Context, r Revision, from string, pod func(raw []byte) error,
	) (next string, err error) {
		options, err := listOptions(r, from)
		if err != nil {
			return "", err
		}
		if limit := c.GetRateLimiter(); limit != nil {
			if err := limit.Wait(ctx); err != nil {
				return "", err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		body, err := c.Get().Throttle(nil).Namespace(r.Namespace).Resource("pods").
			VersionedParams(options, scheme.ParameterCodec).
			SetHeader("Accept", "application/json").Stream(ctx)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, body.Close()) }()
		page := &io.LimitedReader{R: body, N: maxPage}
		reader := limits.Reader(ctx, r.Namespace, jsonwalk.Shallow(page))
		defer reader.Close()
		next, err = readPage(reader, pod)
		if err != nil && page.N == 0 {
			err = fair.ErrTooLarge // the page was cut off
		}
		return next, err
	}
}

// readPage reads the JSON of a page, and calls pod with that of each pod.
func readPage(r *fair.ItemReader, pod func(raw []byte) error) (next string, err error) {
	dec := jsonwalk.NewDecoder(r)
	list := struct {
		Metadata metav1.ListMeta `json:"metadata"`
		Items    pods            `json:"items"`
	}{Items: pods{func(raw []byte) error {
		r.Next(len(dec.UnreadBuffer()))
		return pod(raw)
	}}}
	err = json.UnmarshalDecode(dec, &list)
	return list.Metadata.Continue, err
}

func listOptions(r Revision, from string) (*metav1.ListOptions, error) {
	options := &metav1.ListOptions{Limit: maxPods, Continue: from}
	if r.Label != "" {
		selector, err := labels.ValidatedSelectorFromSet(labels.Set{r.Label: r.Value})
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", r.Label, err)
		}
		options.LabelSelector = selector.String()
	}
	return options, nil
}

// pods calls each with the JSON of every element of a list, one after the other.
type pods struct{ each func(raw []byte) error }

// UnmarshalJSONFrom reads the list. It ignores a value that is not a list.
func (p *pods) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return jsonwalk.Array(dec, func() error {
		raw, err := dec.ReadValue()
		if err == nil {
			err = p.each(raw)
		}
		return err
	})
}

// Metrics counts lists. A nil *Metrics counts nothing.
type Metrics struct{ lists *prometheus.CounterVec }

// NewMetrics creates the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{lists: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_sibling_lists_total",
		Help: "Lists of the pods of one revision, by result: found; none, if no pod of the revision is" +
			" pinned; forbidden, if tagpin may not list pods; error, if the API server did not answer.",
	}, []string{"result"})}
	r.MustRegister(m.lists)
	// The counters start at 0, so that increase() sees the first failure.
	m.lists.WithLabelValues("forbidden")
	m.lists.WithLabelValues("error")
	return m
}

func (m *Metrics) count(result string) {
	if m != nil {
		m.lists.WithLabelValues(result).Inc()
	}
}

// resultOf returns the result label of a list that found digests for some texts.
func resultOf(err error, texts int) string {
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return "forbidden"
	case err != nil:
		return "error"
	case texts > 0:
		return "found"
	}
	return "none"
}
