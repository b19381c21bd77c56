// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"strings"
	"testing"
)

// TestValues checks which forms of values are images for certain, which are only left with a
// message, and which are neither. D stands for a digest.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		text          string
		pinned, maybe string // the images, and those that are only likely
	}{
		// Below a key of images, a repository with a tag is one, as in Longhorn.
		{"image: {longhorn: {engine: {repository: longhornio/engine, tag: v1}}}", "longhornio/engine:v1", ""},
		{"images: {web: {repository: nginx, tag: '1'}}", "nginx:1", ""},
		{"images: [{repository: nginx, tag: '1'}]", "nginx:1", ""},
		{"images: {web: {registry: quay.io, repository: a/b, tag: '1'}}", "quay.io/a/b:1", ""},
		{"image: {registry: quay.io, web: {repository: a/b, tag: '1'}}", "", "a/b"},
		{"image: {web: {repository: a/b, tag: ''}}", "", "a/b"},
		{"image: {web: {repository: a/b}}", "", ""},
		// There, the names of something else are those of images too, as in Airflow.
		{"images: {gitSync: {repository: registry.k8s.io/git-sync/git-sync, tag: v4.3.0}}", "registry.k8s.io/git-sync/git-sync:v4.3.0", ""},
		{"images: {gitlabRunner: {repository: a/b, tag: v1}}", "a/b:v1", ""},
		{"images: {datasource: {repository: a/b, tag: v1}}", "a/b:v1", ""},
		{"image: {backup: {repository: a/b, tag: v1}}", "a/b:v1", ""},
		{"buildImage: {source: {chart: {repository: a/b, tag: v1}}}", "a/b:v1", ""},
		{"images: {git: {repository: 'https://github.com/a/b', tag: v1}}", "", ""},
		{"images: {git: {repository: github.com/a/b, tag: v1}}", "", ""},
		// Elsewhere it is likely to be one, as in Rook's csi.cephcsi.
		{"sidecar: {repository: quay.io/a/b, tag: v1}", "", "quay.io/a/b:v1"},
		{"csi: {cephcsi: {repository: quay.io/cephcsi/cephcsi, tag: v3}}", "", "quay.io/cephcsi/cephcsi:v3"},
		{"list: [{repository: nginx, tag: 1}]", "", "nginx:1"},
		{"digitalTwin: {repository: a/b, tag: v1}", "", "a/b:v1"},
		{"gitlabRunner: {repository: a/b, tag: v1}", "", "a/b:v1"},
		{"datasource: {repository: a/b, tag: v1}", "", "a/b:v1"},
		{"sidecar: {repository: quay.io/a/b, tag: 'v1@D'}", "", ""},
		{"sidecar: {repository: quay.io/a/b, tag: v1, digest: 'D'}", "", ""},
		{"sidecar: {repository: quay.io/a/b, tag: ''}", "", ""},
		{"sidecar: {repository: quay.io/a/b}", "", ""},
		{"sidecar: {repository: {url: a}, tag: v1}", "", ""},
		// These are repositories of something else.
		{"a: {repository: 'https://github.com/a/b', tag: v1}", "", ""},
		{"a: {repository: 'git@github.com:a/b.git', tag: v1}", "", ""},
		{"a: {repository: 'oci://ghcr.io/a/b', tag: v1}", "", ""},
		{"a: {repository: github.com/a/b, tag: v1}", "", ""},
		{"a: {repository: a/b.git, tag: v1}", "", ""},
		{"gitSync: {repository: a/b, tag: v1}", "", ""},
		{"helm-chart: {repository: a/b, tag: v1}", "", ""},
		{"OCICharts: {repository: a/b, tag: v1}", "", ""},
		{"dataSource: {repository: a/b, tag: v1}", "", ""},
		{"BACKUPS: {repository: a/b, tag: v1}", "", ""},
		{"restic_2: {repository: a/b, tag: v1}", "", ""},
		{"chart: {repository: a/b, tag: v1}", "", ""},
		{"a: {repository: a/b, branch: main, tag: v1}", "", ""},
		{"backup: {repository: /data, tag: daily}", "", ""},
		{"dependencies: [{name: redis, version: 1.2.3, repository: 'https://a.example'}]", "", ""},
		// The name of an image with its tag.
		{"image: {name: nginx, tag: '1.25'}", "", "nginx:1.25"},
		{"agent: {image: {name: agent, tag: 7, repository: null}}", "", "agent:7"},
		{"image: {repo: nginx, tag: '1.25'}", "", "nginx:1.25"},
		{"images: [{name: nginx, tag: '1.25'}]", "", "nginx:1.25"},
		{"image: {name: nginx, tag: '1.25@D'}", "", ""},
		{"image: {name: nginx, tag: '1.25', digest: 'D'}", "", ""},
		{"image: {name: My picture, tag: new}", "", ""},
		{"image: {name: nginx}", "", ""},
		{"image: {repository: nginx, name: web, tag: '1'}", "nginx:1", ""},
		{"release: {name: nginx, tag: '1.25'}", "", ""},
		// Texts with tags among images, as in images.tags of OpenStack-Helm.
		{"images: {web: 'nginx:1.25'}", "", "nginx:1.25"},
		{"images: ['nginx:1.25', redis]", "", "nginx:1.25"},
		{"images: {tags: {web: 'nginx:1.25'}, pull_policy: Always}", "", "nginx:1.25"},
		{"images: {web: 'nginx:1.25@D'}", "", ""},
		{"images: {registry: 'localhost:5000', pullPolicy: Always}", "", ""},
		{"images: {logo: 'https://a.example/logo.png', icon: a.png}", "", ""},
		{"images: {local_registry: {active: false}, a: {b: 'c:1'}}", "", ""},
		{"list: ['nginx:1.25']", "", ""},
		// What is an image for certain in one place is not only likely in others.
		{"a: &a {repository: b, tag: '1'}\nc: {image: {<<: *a, pullPolicy: Never}}", "b:1", ""},
		{"images: {a: &a 'b:1'}\nc: {image: *a}", "b:1", ""},
		// Duplicate keys elsewhere are no error, as for Helm.
		{"a: {repository: x, repository: y, tag: v1, tag: v2}", "", "x:v1"},
	} {
		digest := "sha256:" + strings.Repeat("a", 64)
		f := parse(t, "values.yaml", strings.ReplaceAll(tt.text, "D", digest))
		var pinned, maybe []string
		for _, o := range f.Objects {
			for _, r := range o.PodSpecs[0].References {
				pinned = append(pinned, r.Text)
			}
		}
		for _, l := range f.Left {
			maybe = append(maybe, l.Text)
		}
		if strings.Join(pinned, " ") != tt.pinned || strings.Join(maybe, " ") != tt.maybe {
			t.Errorf("images in %s = %q, likely ones %q, want %q and %q",
				tt.text, pinned, maybe, tt.pinned, tt.maybe)
		}
	}
}
