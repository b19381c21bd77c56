// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/fair"
)

const (
	// maxPods bounds one page.
	maxPods = 100
	// maxList bounds what is read of an answer: pods may be of 1.5 MiB each, and most are of some KiB.
	maxList = 64 << 20
	// maxLists bounds the lists under way: of each one pod is in memory.
	maxLists = 32
	// maxPerNamespace bounds those of one namespace: whoever may make pods there may forge owners, each of which costs a list.
	maxPerNamespace = 4
	// maxWaiting bounds those of one namespace that wait for their turn.
	maxWaiting = 1024
	// callTimeout bounds one call, from when it has its turn. It leaves time to ask a registry.
	callTimeout = 5 * time.Second
)

// Lister lists the pods that have the label of a revision, or all pods of its namespace if it has
// none, by pages, and calls pod with the JSON of each, which is good until pod returns. A page
// begins at from, "" for the first, and next is where the one after it begins, "" after the last.
// It obeys the context.
type Lister interface {
	List(ctx context.Context, r Revision, from string, pod func(raw []byte) error) (next string, err error)
}

// Places returns the queue of FromClient.
func Places() *fair.Queue {
	return &fair.Queue{Capacity: maxLists, Share: maxPerNamespace, Backlog: maxWaiting}
}

// FromClient is a Lister that asks the API server for pages of at most 100 pods when there is a place.
// c is a client of the core group's v1. A call may take 5 s, and the wait for its turn as long as the
// context.
func FromClient(c rest.Interface, places *fair.Queue) Lister {
	return &client{api: c, places: places}
}

type client struct {
	api    rest.Interface
	places *fair.Queue
}

func (c *client) List(ctx context.Context, r Revision, from string, pod func(raw []byte) error) (next string, err error) {
	options := metav1.ListOptions{Limit: maxPods, Continue: from}
	if r.Label != "" {
		selector, err := labels.ValidatedSelectorFromSet(labels.Set{r.Label: r.Value})
		if err != nil {
			return "", fmt.Errorf("label %s: %w", r.Label, err)
		}
		options.LabelSelector = selector.String()
	}
	leave, err := c.places.Enter(ctx, r.Namespace, 1)
	if err != nil {
		return "", err
	}
	defer leave()
	if limit := c.api.GetRateLimiter(); limit != nil {
		if err := limit.Wait(ctx); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := c.api.Get().Throttle(nil).Namespace(r.Namespace).Resource("pods").VersionedParams(&options, scheme.ParameterCodec).
		SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return items(io.LimitReader(body, maxList), pod)
}

// items calls item with each element of the field items of a list, and returns where the next page begins.
func items(list io.Reader, item func(raw []byte) error) (next string, err error) {
	dec := jsontext.NewDecoder(list, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return "", errors.Join(errors.New("not a list of pods"), err)
	}
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return "", err
		}
		switch name := token.String(); {
		case name == "items" && dec.PeekKind() == '[':
			err = elements(dec, item)
		case name == "metadata":
			next, err = continued(dec)
		default:
			err = dec.SkipValue()
		}
		if err != nil {
			return "", err
		}
	}
	_, err = dec.ReadToken()
	return next, err
}

// continued reads where the next page begins from the metadata of a list.
func continued(dec *jsontext.Decoder) (next string, err error) {
	raw, err := dec.ReadValue()
	if err != nil {
		return "", err
	}
	var metadata metav1.ListMeta
	err = json.Unmarshal(raw, &metadata)
	return metadata.Continue, err
}

func elements(dec *jsontext.Decoder, element func(raw []byte) error) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := element(raw); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// Metrics counts lists. Its labels are closed sets. A nil *Metrics counts nothing.
type Metrics struct{ lists *prometheus.CounterVec }

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{lists: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_sibling_lists_total",
		Help: "Lists of the pods of one owner revision, by result: found, none where no pod is pinned, forbidden, or error where the pod is not taken for the first one.",
	}, []string{"result"})}
	r.MustRegister(m.lists)
	m.lists.WithLabelValues("forbidden") // from 0 on, so that the first one is an increase
	return m
}

func (m *Metrics) count(result string) {
	if m != nil {
		m.lists.WithLabelValues(result).Inc()
	}
}

// resultOf is what came of a list, by its error and the number of texts that it had a pin of.
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
