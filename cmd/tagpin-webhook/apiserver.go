// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// Limits of the requests to the API server, of each of three clients. One keeps the certificate and
// the registration, one gets pull secrets and service accounts, whose answers are remembered for
// seconds, and one lists the pods of revisions. With client-go's default of 5 requests per second,
// the first pods of a hundred namespaces would wait for a minute. The API server protects itself by
// priority and fairness.
const (
	clientQPS   = 200
	clientBurst = 400
)

// setPings makes client-go notice an API server that dies without closing its connections.
// client-go sends a ping when nothing was received for five seconds, and closes the connection if
// no answer comes within five more. With its own defaults, which are 45 s together, every read of a
// pull secret would hang for that time. The variables take precedence if they are set.
func setPings() {
	for _, name := range []string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS", "HTTP2_PING_TIMEOUT_SECONDS"} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, "5") // fails for malformed names only
		}
	}
}

// apiServer has the clients of the API server. With --standalone it only has a config.
type apiServer struct {
	config *rest.Config
	client kubernetes.Interface // of the registrar
	get    cluster.Get
	list   sibling.List
	clock  *clock

	secrets, siblings, objects *fair.Queue // the queues of get and list
}

// connect creates the clients. They don't connect before they are used.
func (s *server) connect() (apiServer, error) {
	if s.options.standalone {
		// The manager needs an address, although it does not connect to it.
		return apiServer{config: &rest.Config{Host: "https://standalone.invalid"}}, nil
	}
	setPings()
	c, err := loadKubeconfig(s.options.kubeconfig)
	if err != nil {
		return apiServer{}, fmt.Errorf("%w: no API server: set --kubeconfig, "+
			"or --standalone to run without: %w", errSettings, err)
	}
	c.QPS, c.Burst = clientQPS, clientBurst
	clock := &clock{}
	c.Wrap(boundStreams)
	c.Wrap(clock.wrap)
	// Each client has a rate limit of its own. A tenant that causes many lists can't delay the reads
	// of pull secrets, and neither delays a renewal of the certificate.
	var clients [3]*kubernetes.Clientset
	for i := range clients {
		if clients[i], err = kubernetes.NewForConfig(c); err != nil {
			return apiServer{}, fmt.Errorf("%w: %w", errSettings, err)
		}
	}
	keeping, reading, listing := clients[0], clients[1], clients[2]
	a := apiServer{
		config: c, client: keeping, clock: clock,
		secrets: cluster.Places(), siblings: sibling.Places(), objects: newObjects(),
	}
	a.get = cluster.FromClient(reading.CoreV1().RESTClient(), a.secrets, a.objects)
	a.list = sibling.FromClient(listing.CoreV1().RESTClient(), a.objects)
	return a, nil
}

// loadKubeconfig returns the config of the API server that a file names, or of the cluster that the
// process runs in if path is empty.
func loadKubeconfig(path string) (c *rest.Config, err error) {
	if path == "" {
		c, err = rest.InClusterConfig()
	} else {
		c, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, err
	}
	c.UserAgent = "tagpin-webhook"
	return c, nil
}

// maxUnread is the number of bytes of an answer that the API server may send before they are read.
// client-go would have it send 4 MiB of each pod list and pull secret that waits for room.
const maxUnread = 256 << 10

// boundStreams is a wrapper for client-go that applies maxUnread to the transport that it is given.
func boundStreams(rt http.RoundTripper) http.RoundTripper {
	switch t := rt.(type) {
	case *http.Transport:
		if t.HTTP2 == nil {
			t.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: maxUnread}
		}
	case utilnet.RoundTripperWrapper:
		boundStreams(t.WrappedRoundTripper())
	}
	return rt
}

// clock is the clock of the API server, as the headers of its answers show it. API servers use it
// to verify certificates. A nil clock is the clock of this machine.
type clock struct {
	mu   sync.Mutex
	date time.Time // the latest Date header
	at   time.Time // when that came, by the clock of this machine
}

// now returns the time. Before the first answer, it is the time of this machine.
func (c *clock) now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Now()
	}
	return c.date.Add(time.Since(c.at))
}

// wrap is a wrapper for client-go that reads the date of each answer.
func (c *clock) wrap(next http.RoundTripper) http.RoundTripper { return &dated{next, c} }

type dated struct {
	next  http.RoundTripper
	clock *clock
}

// RoundTrip implements http.RoundTripper.
func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		d.clock.mu.Lock()
		d.clock.date, d.clock.at = date, time.Now()
		d.clock.mu.Unlock()
	}
	return resp, nil
}

// WrappedRoundTripper lets client-go find the transport, whose idle connections it closes.
func (d *dated) WrappedRoundTripper() http.RoundTripper { return d.next }
