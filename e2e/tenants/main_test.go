// SPDX-License-Identifier: Apache-2.0

package tenants

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/attack"
	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the environment of all tests. Each has its own namespaces and registries.
var env *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(cluster.Tests{}.Run(m, &env)) }

// elsewhere returns another address of loopback than the API server's, because tagpin limits what
// one address may do.
func elsewhere() *net.TCPAddr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)} }

// place returns the cluster for attacks.
func place() attack.Place {
	webhook, metrics, probes := env.Tagpin.Addresses()
	return attack.Place{
		Config: env.Config, CA: env.CA,
		Listen: func(ctx context.Context) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		},
		Dial: (&net.Dialer{LocalAddr: elsewhere()}).DialContext,
		Ports: []attack.Port{
			{Name: "webhook", Address: webhook, TLS: true},
			{Name: "metrics", Address: metrics},
			{Name: "probes", Address: probes},
		},
	}
}
