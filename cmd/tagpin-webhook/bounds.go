// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Bounds of every connection, whoever opens it. An API server's request has 8 lines of header and
// less than 1 KiB, or a few KiB with the token of a kubeconfig.
const (
	// maxHeaderBytes is what http.Server takes: it adds 4 KiB, which makes 16 KiB.
	maxHeaderBytes = 12 << 10
	// maxHeaderLines bounds the memory of a header: Go needs about 100 bytes for each line, however
	// short it is, so that 16 KiB of lines of five bytes would become 400 KiB.
	maxHeaderLines = 64
	// maxHandshakeBytes is what a TLS handshake may send: client certificates are the largest part.
	maxHandshakeBytes = 24 << 10
	// maxHandshakes is the number of TLS handshakes of a port that may be under way at once. An API
	// server keeps 25 idle connections, so that a burst of requests begins with as many handshakes.
	maxHandshakes = 512
	// headerTime is how long a handshake and the first header may take, and each later header.
	headerTime = 5 * time.Second
)

// bounds are the limits of one port.
type bounds struct {
	// connections is the number of connections that may be open at once, and perPeer the number of
	// those from one address.
	connections, perPeer int
	// age is how old a connection may become; it is closed after the answer to a request. Its
	// actual value is drawn between half of it and all of it, so that the connections of an API
	// server do not end together. 0: no bound.
	age time.Duration
	// readTime is how long a request may take to come, with its body. 0: the handler says.
	readTime time.Duration
	// writeTime is how long an answer may take, from the end of the header.
	writeTime time.Duration
	// idleTime is how long a connection is kept without a request.
	idleTime time.Duration
}

// webhookBounds are for API servers. HTTP/1.1 needs a connection for each request that is under way.
// By default an API server has 600 requests under way (--max-requests-inflight and
// --max-mutating-requests-inflight). Its priority levels give one service account up to 366 of them
// (k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap). API servers share one address if a node or a
// tunnel translates addresses on the way to the Service: one service account can then have 549 at
// each replica, if there are three API servers and two replicas. An idle TLS connection holds about
// 50 KiB, so all of them hold 38 MiB.
//
// API servers keep idle connections for 90 seconds: closing them later leaves it to the caller, which
// can't have sent a request meanwhile. The age spreads the load over replicas that are added: a
// Service chooses a replica for a connection, not for a request.
var webhookBounds = bounds{
	connections: 768,
	perPeer:     576,
	age:         10 * time.Minute,
	writeTime:   45 * time.Second, // an API server waits for at most 30 seconds
	idleTime:    2 * time.Minute,
}

// metricsBounds are for a few Prometheus servers, each with a connection or two.
var metricsBounds = bounds{connections: 32, perPeer: 8, readTime: headerTime, writeTime: 30 * time.Second, idleTime: 2 * time.Minute}

// probesBounds are for the kubelet, which opens a connection for each probe.
var probesBounds = bounds{connections: 32, perPeer: 8, readTime: headerTime, writeTime: headerTime, idleTime: 15 * time.Second}

// maxScrapes is the number of answers of /metrics that are made at once. Each holds all metrics as text.
const maxScrapes = 4

// The queues below bound what is held at once, fairly by namespace. deploy/docs/bounds.md lists the
// bounds that matter for memory, with their reasons. A server at rest holds about 40 MiB. With
// connections, handshakes and small reviews, one sender can make it hold some 180 MiB, and two
// senders some 250 MiB; the chart's limit is 256 MiB. The bounds of lookups, pull secrets and
// siblings are beside what they bound (resolve.Places and Pending, cluster.Places, sibling.Places).

// newReviews bounds the bytes of large reviews that are being read. The senders at one address may
// send the largest review that there can be, and those at another address one beside it: an address
// is an API server, or a pod that pretends to be one. A review of less than 32 KiB needs no place.
func newReviews() *fair.Groups {
	return &fair.Groups{Capacity: 2 * admit.MaxReview, Share: admit.MaxReview, Backlog: 64}
}

// newWaiting bounds the reviews that wait for a registry or the API server, each of which holds a
// connection: of one address up to 384, and of one namespace of it up to 192, fewer the more others
// wait. The other connections are for those that can be answered from memory.
func newWaiting() *fair.Room { return &fair.Room{Capacity: int64(webhookBounds.connections)} }

// newImages bounds the size of large objects that are being pinned, in images, pod specs and KiB of
// text, each of which holds about 1 KiB. One namespace may have the largest object that there can
// be, if the texts of its images have 256 bytes. An object of at most 64 needs no place.
func newImages() *fair.Room {
	const largest = workload.MaxReferences + workload.MaxReferences/4
	return &fair.Room{Capacity: 4 * largest, Modest: 512}
}

// newManifests bounds the bytes of large manifests that are held at once, and gives one namespace
// half of them. A manifest of less than 64 KiB needs no place.
func newManifests() *fair.Queue {
	return &fair.Queue{Capacity: 4 * registry.MaxManifest, Share: 2 * registry.MaxManifest}
}

// newGets bounds the manifests that are being read. Each holds 64 KiB, and as much in the connection,
// before it counts as large. Nearly all lookups need no more than a HEAD request.
func newGets() *fair.Queue { return &fair.Queue{Capacity: 256} }

// newObjects bounds the bytes that large pods, pull secrets and service accounts need while they are
// read, and gives one namespace half of them. Pods of less than 128 KiB need no place, nor do the
// others if they have less than 64 KiB.
func newObjects() *fair.Queue { return &fair.Queue{Capacity: 24 << 20, Share: 12 << 20} }
