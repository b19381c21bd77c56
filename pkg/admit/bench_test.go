// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/policy"
	registries "github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// BenchmarkAdmission reviews a Pod of about 3 KB that a controller made, without the network.
// Either all answers are cached, or all references are pinned.
func BenchmarkAdmission(b *testing.B) {
	env := strings.TrimSuffix(strings.Repeat(`{"name":"SOME_VARIABLE","value":"some value of it"},`, 20), ",")
	pod := func(digest string) []byte {
		return review("CREATE", "", "Pod", fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"app-5d9c-","labels":{"app":"app","pod-template-hash":"5d9c"},
			"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-5d9c","uid":"u","controller":true}]},
			"spec":{"containers":[{"name":"app","image":"registry.example/team/app:1.2%[1]s","env":[%[2]s]},{"name":"proxy","image":"registry.example/team/proxy:1.2%[1]s","env":[%[2]s]}]}}`, digest, env), "")
	}
	for name, body := range map[string][]byte{"cached": pod(""), "pinned": pod("@" + digestOf("x").String())} {
		b.Run(name, func(b *testing.B) {
			h := newHandler(b, policy.Enforce, &resolve.Cache{
				Next: registry, Answers: &resolve.Answers{}, Client: &registries.Client{},
				Limits: resolve.Limits{TTL: time.Minute},
			})
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/enforce?timeout=10s", bytes.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
