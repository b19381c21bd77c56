// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/place"
)

const (
	// maxPods bounds one list.
	maxPods = 100
	// maxList bounds what is read of an answer: pods may be of 1.5 MiB each, and most are of some KiB.
	maxList = 64 << 20
	// maxLists bounds the lists under way: of each one pod is in memory.
	maxLists = 32
	// maxPerNamespace bounds those of one namespace: whoever may make pods there may forge owners, each of which costs a list.
	maxPerNamespace = 4
)

// Lister lists the pods of a namespace that have a label, as far as a bound of its own, and calls pod with the JSON of
// each, which is good until pod returns. It obeys the context.
type Lister interface {
	List(ctx context.Context, namespace, label, value string, pod func(raw []byte) error) error
}

// FromClient is a Lister that asks the API server by one list of at most 100 pods, and a bounded number of times at once.
// c is a client of the core group's v1.
func FromClient(c rest.Interface) Lister {
	return &client{api: c, places: place.Places{Each: maxPerNamespace, All: maxLists}}
}

type client struct {
	api    rest.Interface
	places place.Places
}

func (c *client) List(ctx context.Context, namespace, label, value string, pod func(raw []byte) error) (err error) {
	selector, err := labels.ValidatedSelectorFromSet(labels.Set{label: value})
	if err != nil {
		return fmt.Errorf("label %s: %w", label, err)
	}
	leave, _, err := c.places.Enter(ctx, namespace)
	if err != nil {
		return err
	}
	defer leave()
	options := metav1.ListOptions{LabelSelector: selector.String(), Limit: maxPods}
	body, err := c.api.Get().Namespace(namespace).Resource("pods").VersionedParams(&options, scheme.ParameterCodec).
		SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return items(io.LimitReader(body, maxList), pod)
}

// items calls item with each element of the field items of a list.
func items(list io.Reader, item func(raw []byte) error) error {
	dec := jsontext.NewDecoder(list, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return errors.Join(errors.New("not a list of pods"), err)
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if name.String() != "items" || dec.PeekKind() != '[' {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if err := elements(dec, item); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
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
		Help: "Lists of the pods of one owner revision, by result: found, none where no pod is pinned, forbidden, or error.",
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
