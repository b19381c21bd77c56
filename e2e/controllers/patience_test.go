// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestControllersDoNotWait has a tenant with many ReplicaSets and DaemonSets whose images are at
// registries that never answer. The workers of their controllers must not wait for these, so that
// the workloads of another namespace get their pods meanwhile.
func TestControllersDoNotWait(t *testing.T) { // not parallel, because it occupies the controllers
	const replicaSets, daemonSets, images, within = 80, 40, 40, 30 * time.Second
	loud, modest := newSpace(t, "enforce"), newSpace(t, "enforce")
	reference, digest := modest.push("1")
	port := silentPort(t)
	// Objects of a controller are left alone, so the tag stays in their templates.
	loud.kubectl("", "create", "configmap", "owner")
	uid := loud.kubectl("", "get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}")
	var all strings.Builder
	for i := range replicaSets + daemonSets {
		kind := "ReplicaSet"
		if i >= replicaSets {
			kind = "DaemonSet"
		}
		image := fmt.Sprintf("127.0.%d.%d:%d/app:1", 1+i/200, 1+i%200, port)
		text := strings.Replace(manifest(kind, image, 1), "{name: web}", fmt.Sprintf("{name: web-%d, "+
			"ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s, controller: true}]}",
			i, uid), 1)
		text = strings.ReplaceAll(text, "app: web}", fmt.Sprintf("app: web-%d}", i))
		text = strings.ReplaceAll(text, "  minReadySeconds: 0\n", "")
		fmt.Fprintf(&all, "---\n%s", text)
		for j := range images {
			fmt.Fprintf(&all, "      - {name: c%d, image: '%s-%d'}\n", j, image, j)
		}
	}
	loud.apply(all.String())
	for _, kind := range []string{"Deployment", "DaemonSet"} {
		began := time.Now()
		modest.apply(manifest(kind, reference+"@"+digest, nodes))
		modest.rolledOut(kind + "/web")
		took := time.Since(began)
		t.Logf("the pods of a %s of another namespace were there after %v", kind, took)
		if took > within {
			t.Errorf("the pods of a %s of another namespace took %v, want at most %v", kind, took, within)
		}
	}
	loud.kubectl("", "delete", "replicasets,daemonsets", "--all", "--wait=false")
}

// silentPort returns a port that accepts connections on each address of this machine and never
// sends anything.
func silentPort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}
