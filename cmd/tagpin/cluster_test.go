// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveCluster starts an API server, and writes the file kubeconfig, which names it. The API server
// answers a path with the file of that path below cluster/, and .json. If the file is a Status, the
// answer has its code. Without a file, a list is empty. The variable $LOGIN is the Docker config of
// a pull secret with the password of the registry.
func serveCluster(env *testscript.Env) error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, err := os.ReadFile(filepath.Join(env.WorkDir, "cluster", r.URL.Path+".json"))
		if err != nil {
			text = []byte(`{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}`)
		}
		var status struct {
			Kind string `json:"kind"`
			Code int    `json:"code"`
		}
		if json.Unmarshal(text, &status) == nil && status.Kind == "Status" {
			w.WriteHeader(status.Code)
		}
		_, _ = w.Write(text)
	}))
	env.Defer(server.Close)
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: test\n"+
		"clusters: [{name: blue, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\n"+
		"contexts: [{name: test, context: {cluster: blue, user: u}}]\n", server.URL)
	login := fmt.Sprintf(`{"auths":{%q:{"username":"u","password":"canary"}}}`,
		env.Getenv("REGISTRY"))
	env.Setenv("LOGIN", base64.StdEncoding.EncodeToString([]byte(login)))
	return os.WriteFile(filepath.Join(env.WorkDir, "kubeconfig"), []byte(text), 0o600)
}
