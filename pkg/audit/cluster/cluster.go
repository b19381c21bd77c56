// SPDX-License-Identifier: Apache-2.0

// Package cluster reads the pods of a cluster, and the owners of their owners, for an audit.
//
// Pods are listed in pages, and one pod at a time is in memory. Of ReplicaSets and Jobs only the
// metadata is read. The package needs the verb list on these three, and writes nothing.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/jsonwalk"
	"github.com/tagpin/tagpin/pkg/panics"
)

const (
	// pageSize is the number of objects in a page.
	pageSize = 500
	// pageTime is how long the API server may take for a page, or for one object.
	pageTime = time.Minute
	// partialMetadata asks for the metadata of the objects in a list alone.
	partialMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	// unfinished selects the pods that have not finished: a node needs no image for others.
	unfinished = "status.phase!=Succeeded,status.phase!=Failed"
)

// Reader reads a cluster.
type Reader struct {
	// Client sends requests to the API server. It is for no API group: the paths are absolute.
	Client rest.Interface
	// InPod is true if the login is that of this pod's service account. Then errors say what to do
	// about a pod, and not about a kubeconfig.
	InPod bool
	// Namespaces are those to read. If empty, all of them are.
	Namespaces []string
	// Selector selects pods by their labels. If empty, all are selected.
	Selector string
	// PullSecrets is true if pull secrets and service accounts are read too. Then the advice about a
	// missing permission has the one for them.
	PullSecrets bool
	// Progress is called with the number of pods after each page. It may be nil.
	Progress func(pods int)
	// Panics reports panics while an object is read. If nil, they are not reported.
	Panics *panics.Reporter
}

// Read adds the pods of the cluster to c. The problems are the parts that could not be read: a
// namespace of several, or the owners of ReplicaSets or Jobs, without which these count as the
// workload. If nothing could be read, there is an error.
func (r *Reader) Read(ctx context.Context, c *audit.Collector) (problems []error, err error) {
	namespaces := slices.Compact(slices.Sorted(slices.Values(r.Namespaces)))
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		if err := r.pods(ctx, namespace, c); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == len(namespaces) {
		return nil, errors.Join(problems...)
	}
	parents := map[string]audit.Owner{}
	for _, k := range []struct{ group, resource, kind string }{
		{"apps", "replicasets", "ReplicaSet"}, {"batch", "jobs", "Job"},
	} {
		wanted := c.Owners(k.group, k.kind)
		if len(wanted) == 0 {
			continue
		}
		for _, namespace := range namespaces {
			err := r.parents(ctx, namespace, k.group, k.resource, wanted, parents)
			if err != nil && ctx.Err() == nil {
				problems = append(problems, err)
			}
		}
	}
	c.Replace(parents)
	return problems, context.Cause(ctx)
}

// Exists reports whether a namespace exists. It is taken to exist if the API server does not say,
// such as to somebody who may only list pods.
func (r *Reader) Exists(ctx context.Context, namespace string) bool {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	err := r.Client.Get().AbsPath("/api/v1/namespaces/" + namespace).Do(ctx).Error()
	return !apierrors.IsNotFound(err)
}

// pods adds the pods of a namespace.
func (r *Reader) pods(ctx context.Context, namespace string, c *audit.Collector) error {
	options := metav1.ListOptions{LabelSelector: r.Selector, FieldSelector: unfinished}
	l := list{group: "", resource: "pods", namespace: namespace, accept: "application/json"}
	return r.each(ctx, l, options, func(raw []byte) error {
		p, err := r.readPod(namespace, func(p *audit.Pod) error { return read(raw, p) })
		if err == nil {
			c.Add(p)
		}
		return err
	}, func() {
		if r.Progress != nil {
			r.Progress(c.Pods)
		}
	})
}

// parents adds the controllers of the objects whose UID is wanted.
func (r *Reader) parents(
	ctx context.Context, namespace, group, resource string, wanted map[string]bool,
	parents map[string]audit.Owner,
) error {
	l := list{group: group, resource: resource, namespace: namespace, accept: partialMetadata}
	return r.each(ctx, l, metav1.ListOptions{}, func(raw []byte) error {
		var o struct {
			Metadata metadata `json:"metadata"`
		}
		err := r.Panics.Catch("reading an owner of pods", func() error { return decode(raw, &o) })
		if err != nil {
			return err
		}
		if owner := o.Metadata.controller(); wanted[o.Metadata.UID] && owner != (audit.Owner{}) {
			parents[o.Metadata.UID] = owner
		}
		return nil
	}, func() {})
}

// decode reads an object of a list. The API server does not check the text of managedFields, so
// that invalid UTF-8 and duplicate names in it are no reason to fail.
func decode(raw []byte, o any) error {
	return json.Unmarshal(raw, o,
		jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

// list is what is listed.
type list struct{ group, resource, namespace, accept string }

// path returns the path of the list.
func (l list) path() string {
	path := "/apis/" + l.group + "/v1"
	if l.group == "" {
		path = "/api/v1"
	}
	if l.namespace != metav1.NamespaceAll {
		path += "/namespaces/" + l.namespace
	}
	return path + "/" + l.resource
}

// each calls object with the JSON of each object of a list, and page after each page. If the list
// takes so long that the API server forgets its state, it goes on with the present one.
func (r *Reader) each(
	ctx context.Context, l list, options metav1.ListOptions, object func([]byte) error, page func(),
) error {
	options.Limit = pageSize
	for {
		next, err := r.page(ctx, l, options, object)
		if err != nil {
			again := expired(err)
			if again == "" || again == options.Continue {
				return r.explain(l, err)
			}
			next = again
		}
		page()
		if next == "" {
			return nil
		}
		options.Continue = next
	}
}

// expired returns the token with which a list goes on that has expired, or "" if it can't.
func expired(err error) string {
	status := apierrors.APIStatus(nil)
	if !apierrors.IsResourceExpired(err) || !errors.As(err, &status) {
		return ""
	}
	return status.Status().Continue
}

// page reads one page.
func (r *Reader) page(
	ctx context.Context, l list, options metav1.ListOptions, object func([]byte) error,
) (next string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pageTime,
		fmt.Errorf("the %v for a page of a list are over", pageTime))
	defer cancel()
	defer func() {
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = over{context.Cause(ctx)}
		}
	}()
	request := r.Client.Get().AbsPath(l.path()).SetHeader("Accept", l.accept).
		Param("limit", fmt.Sprint(options.Limit))
	for name, value := range map[string]string{
		"labelSelector": options.LabelSelector, "fieldSelector": options.FieldSelector,
		"continue": options.Continue,
	} {
		if value != "" {
			request.Param(name, value)
		}
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return readPage(jsonwalk.Shallow(body), object)
}

// readPage reads the JSON of a list.
func readPage(body io.Reader, object func([]byte) error) (next string, err error) {
	dec := jsonwalk.NewDecoder(body)
	err = jsonwalk.Object(dec, func(name []byte) error {
		switch string(name) {
		case "metadata":
			var meta struct {
				Continue string `json:"continue"`
			}
			err := json.UnmarshalDecode(dec, &meta)
			next = meta.Continue
			return err
		case "items":
			return jsonwalk.Array(dec, func() error {
				raw, err := dec.ReadValue()
				if err != nil {
					return err
				}
				return object(raw)
			})
		}
		return dec.SkipValue()
	})
	return next, err
}
