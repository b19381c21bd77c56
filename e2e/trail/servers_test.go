// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tagpin/tagpin/e2e/pki"
)

// serveTLS serves with a certificate of a CA until the test ends, and returns the address.
func serveTLS(t *testing.T, ca *pki.CA, handler http.Handler) string {
	t.Helper()
	leaf, err := ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	if s.TLS, err = leaf.ServerConfig(); err != nil {
		t.Fatal(err)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs that its certificate is refused
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// serveProxy serves a proxy that lets nothing through.
func serveProxy(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(status(http.StatusForbidden))
	t.Cleanup(s.Close)
	return s.URL
}

// api is an API server that has what tagpin needs for lookups: a service account without pull
// secrets, and the secrets of the cases.
type api struct {
	address string
	host    atomic.Value // of the registry that wrongSecret and realmSecret are for
}

func serveAPI(t *testing.T) *api {
	t.Helper()
	a := &api{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"+namespace)
		switch path {
		case "/serviceaccounts/default":
			answer(w, http.StatusOK, map[string]any{"kind": "ServiceAccount", "apiVersion": "v1"})
		case "/secrets/" + wrongSecret, "/secrets/" + realmSecret:
			answer(w, http.StatusOK, pullSecret(a.host.Load()))
		case "/secrets/" + forbiddenSecret:
			answer(w, http.StatusForbidden, failed("Forbidden", http.StatusForbidden))
		default:
			answer(w, http.StatusNotFound, failed("NotFound", http.StatusNotFound))
		}
	}))
	t.Cleanup(s.Close)
	a.address = s.URL
	return a
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

func failed(reason string, code int) map[string]any {
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
	}
}

// pullSecret returns a secret with a wrong password for a registry.
func pullSecret(host any) map[string]any {
	auth := base64.StdEncoding.EncodeToString([]byte("user:" + canary))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)
	return map[string]any{
		"kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/dockerconfigjson",
		"data": map[string]any{".dockerconfigjson": []byte(config)},
	}
}
