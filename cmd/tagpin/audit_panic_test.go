// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"k8s.io/client-go/rest"

	"github.com/tagpin/tagpin/pkg/audit/cluster"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain/local"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestAuditPanic checks that a panic while a pull secret is read is reported.
func TestAuditPanic(t *testing.T) {
	var reported []*panics.Error
	a := auditing{
		engine: &engine{
			config: &config.Config{}, keychain: &local.Keychain{},
			panics: &panics.Reporter{Report: func(e *panics.Error) { reported = append(reported, e) }},
		},
		server: cluster.Server{Client: panicking{}}, pullSecrets: true,
	}
	keys, done := a.keys()
	id := workload.Identity{ServiceAccount: "default"}
	keys("ns", id).Credentials(t.Context(), ref.MustParse("r.example/app:1"), false)
	done()
	if len(reported) == 0 {
		t.Error("no panic was reported, want that of the client")
	}
}

// panicking is a client of an API server whose methods panic.
type panicking struct{ rest.Interface }
