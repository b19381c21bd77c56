// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/listen"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// webhookBounds are for API servers. HTTP/1.1 needs a connection for each concurrent request. By
// default an API server has 600 concurrent requests (--max-requests-inflight and
// --max-mutating-requests-inflight). Its priority levels give one service account up to 366 of them
// (k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap). API servers share one address if a node or a
// tunnel translates addresses on the way to the Service. One service account can then have 549 at
// each replica, if there are three API servers and two replicas. An idle TLS connection holds about
// 50 KiB, so all of them hold 38 MiB.
//
// API servers close idle connections after 90 seconds. The server does it later, so that it never
// closes a connection over which an API server is sending a request. The age spreads the load over
// replicas that are added, because a Service chooses a replica for a connection and not for a
// request.
var webhookBounds = listen.Bounds{
	Connections: 768,
	PerPeer:     576,
	Age:         10 * time.Minute,
	WriteTime:   45 * time.Second, // an API server waits for at most 30 seconds
	IdleTime:    2 * time.Minute,
}

// metricsBounds are for a few Prometheus servers, each with a connection or two.
var metricsBounds = listen.Bounds{
	Connections: 32,
	PerPeer:     8,
	ReadTime:    listen.HeaderTime,
	WriteTime:   30 * time.Second,
	IdleTime:    2 * time.Minute,
}

// probesBounds are for the kubelet, which opens a connection for each probe.
var probesBounds = listen.Bounds{
	Connections: 32,
	PerPeer:     8,
	ReadTime:    listen.HeaderTime,
	WriteTime:   listen.HeaderTime,
	IdleTime:    15 * time.Second,
}

// newScrapes bounds the concurrent answers of /metrics, each of which holds all metrics. Answers to
// one address come one after the other, so that a pod that asks all the time does not keep
// Prometheus waiting.
func newScrapes() *fair.Queue { return &fair.Queue{Capacity: 4, Share: 1} }

// queues bound what is held at once, fairly by namespace. deploy/docs/bounds.md lists the bounds
// that matter for memory, with their reasons. An idle server holds about 40 MiB, and 50 to 170 MiB
// under the attacks of e2e/whole; the chart's limit is 256 MiB. The bounds of lookups, pull secrets
// and siblings are beside what they bound (pin.HelperRoom, resolve.Places, Pending and
// CredentialRoom, cluster.Places, sibling.Places).
type queues struct {
	reviews                                            *fair.Groups
	slowReviews, images, helpers, pending, credentials *fair.Room
	manifests, gets                                    *fair.Queue
}

func newQueues() queues {
	const largest = workload.MaxReferences + workload.MaxReferences/4
	return queues{
		// The bytes of large reviews that are being read. There is room for two reviews of the greatest
		// size, and all senders at one address together may use half of it. An address is an API
		// server, or a pod that pretends to be one. A review of less than 32 KiB needs no place.
		reviews: &fair.Groups{Capacity: 2 * admit.MaxReview, Share: admit.MaxReview, Backlog: 64},
		// The reviews that wait for a registry or the API server, each of which holds a connection. A
		// review takes a place when it has waited for half a second. One address may have up to 384
		// places, and one namespace of it up to 192; less if others wait too. The other connections are
		// for reviews that can be answered from memory.
		slowReviews: &fair.Room{Capacity: int64(webhookBounds.Connections)},
		// The size of large objects that are being pinned, in images, pod specs and KiB of text, each of
		// which holds about 1 KiB. One namespace may have an object with the greatest number of images,
		// if their texts have at most 256 bytes on average. An object that counts as at most 64 needs no
		// place.
		images:      &fair.Room{Capacity: 4 * largest, Modest: 512},
		helpers:     pin.HelperRoom(),
		pending:     resolve.Pending(),
		credentials: resolve.CredentialRoom(),
		// The bytes of large manifests that are held at once, of which one namespace gets half. A
		// manifest of less than 64 KiB needs no place.
		manifests: &fair.Queue{Capacity: 4 * registry.MaxManifest, Share: 2 * registry.MaxManifest},
		// The manifests that are being read. Each holds 64 KiB, and as much in the connection, before it
		// counts as large. One namespace has at most as many as it has lookups by default. Nearly all
		// lookups need no more than a HEAD request.
		gets: &fair.Queue{Capacity: 256, Share: resolve.DefaultPerNamespace},
	}
}

// newObjects bounds the bytes that large pods, pull secrets and service accounts need while they
// are read, and gives one namespace half of them. Pods of less than 128 KiB need no place, nor do
// the others if they have less than 64 KiB.
func newObjects() *fair.Queue { return &fair.Queue{Capacity: 24 << 20, Share: 12 << 20} }
