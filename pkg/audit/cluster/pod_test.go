// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/audit"
)

// TestVolumeImages checks that the image of a volume is read from the status of the containers that
// mount it, where Kubernetes 1.35 and later may write it.
func TestVolumeImages(t *testing.T) {
	const pod = `{"metadata":{"name":"p","namespace":"ns"},"spec":{
		"initContainers":[{"name":"i","image":"i:1"}],"containers":[{"name":"c","image":"c:1"},{"name":"d","image":"d:1"}],
		"volumes":[{"name":"v","image":{"reference":"v:1"}},{"name":"w","image":{"reference":"w:1"}},{"name":"c","image":{"reference":"x:1"}},
			{"name":"plain","emptyDir":{}}]},
		"status":{"initContainerStatuses":[{"name":"i","imageID":"i@sha256:1","volumeMounts":[%s]}],"containerStatuses":[
			{"name":"c","imageID":"c@sha256:2","volumeMounts":[{"name":"plain","mountPath":"/p"},{"name":"c","volumeStatus":null},%s]},
			{"name":"d","imageID":"d@sha256:3"}]}}`
	mount := func(name, image string) string {
		return fmt.Sprintf(`{"name":%q,"mountPath":"/m","volumeStatus":{"image":{"imageRef":%q}}}`, name, image)
	}
	var p audit.Pod
	err := read(fmt.Appendf(nil, pod, mount("w", "w@sha256:5")+","+mount("v", "v@sha256:6"), mount("v", "v@sha256:4")), &p)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range p.Containers {
		got[string(c.Type)+" "+c.Name] = c.ImageID
		if c.Mounted != (c.Type == audit.TypeVolume) {
			t.Errorf("%s %s: Mounted = %t", c.Type, c.Name, c.Mounted)
		}
	}
	want := map[string]string{
		"init i": "i@sha256:1", "container c": "c@sha256:2", "container d": "d@sha256:3",
		"volume v": "v@sha256:4", "volume w": "w@sha256:5", "volume c": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images: -want +got\n%s", diff)
	}
}
