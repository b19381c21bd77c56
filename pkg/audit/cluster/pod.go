// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/workload"
)

// metadata has the fields of an object's metadata that are needed.
type metadata struct {
	Name            string `json:"name"`
	Namespace       string `json:"namespace"`
	UID             string `json:"uid"`
	OwnerReferences []struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		UID        string `json:"uid"`
		Controller bool   `json:"controller"`
	} `json:"ownerReferences"`
}

// controller returns the controller of the object. It is zero if there is none.
func (m *metadata) controller() audit.Owner {
	for _, o := range m.OwnerReferences {
		if o.Controller {
			kind := workload.KindOf(o.APIVersion, o.Kind)
			return audit.Owner{Group: kind.Group, Kind: kind.Kind, Name: o.Name, UID: o.UID}.Valid()
		}
	}
	return audit.Owner{}
}

// pod has the fields of a pod that are needed, beside those that package workload finds.
type pod struct {
	Metadata metadata                  `json:"metadata"`
	Status   map[string]jsontext.Value `json:"status"`
}

// containerStatus is what the status says about a container.
type containerStatus struct {
	Name    string `json:"name"`
	ImageID string `json:"imageID"`
	State   struct {
		Terminated *struct{} `json:"terminated"`
	} `json:"state"`
	VolumeMounts []volumeMount `json:"volumeMounts"`
}

// volumeMount is what the status of a container says about a volume that it mounts. Nodes report
// the image of a volume since Kubernetes 1.35, with the feature gate ImageVolumeWithDigest. The
// kubelet writes the runtime's ID of the image, which may be the digest of its config alone.
type volumeMount struct {
	Name         string `json:"name"`
	VolumeStatus struct {
		Image struct {
			ImageRef string `json:"imageRef"`
		} `json:"image"`
	} `json:"volumeStatus"`
}

// unknownNamespace is the namespace of a pod whose metadata could not be read.
const unknownNamespace = "(unknown)"

// readPod returns a pod of a list as an audit needs it. read reads it from its JSON. If that
// panics, the pod counts as one that could not be read, so that the audit goes on with the next
// one. namespace is that of the list, or empty.
func (r *Reader) readPod(namespace string, read func(*audit.Pod) error) (a audit.Pod, err error) {
	err = r.Panics.Catch("reading a pod", func() error { return read(&a) })
	if caught, ok := errors.AsType[*panics.Error](err); ok {
		return audit.Pod{
			Namespace: cmp.Or(a.Namespace, namespace, unknownNamespace),
			Name:      a.Name, Owner: a.Owner, Unread: caught.Error(),
		}, nil
	}
	return a, err
}

// read reads the JSON of a pod.
func read(raw []byte, a *audit.Pod) error {
	var p pod
	if err := decode(raw, &p); err != nil {
		return err
	}
	a.Namespace, a.Name, a.Owner = p.Metadata.Namespace, p.Metadata.Name, p.Metadata.controller()
	object, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, raw)
	switch {
	case errors.Is(err, workload.ErrTooManyReferences):
		a.TooMany = true
		return nil
	case err != nil || len(object.PodSpecs) == 0:
		return err
	}
	spec := &object.PodSpecs[0]
	a.Identity = spec.Identity
	statuses := map[audit.Type]map[string]containerStatus{}
	started := false
	for _, r := range spec.References {
		l := listOf(r)
		if statuses[l.kind] == nil {
			if l.kind == audit.TypeVolume {
				statuses[l.kind], err = p.volumes()
			} else {
				statuses[l.kind], err = p.statuses(l.status)
			}
			if err != nil {
				return err
			}
		}
		status := statuses[l.kind][r.Name]
		c := audit.Container{
			Name: strings.TrimPrefix(r.Name, "volume/"), Type: l.kind, Image: r.Text,
			ImageID: status.ImageID, Never: r.Never,
		}
		if c.Type == audit.TypeEphemeral && status.State.Terminated != nil {
			continue // it never runs again
		}
		started = started || c.ImageID != ""
		a.Containers = append(a.Containers, c)
	}
	for i := range a.Containers {
		c := &a.Containers[i]
		c.Mounted = c.Type == audit.TypeVolume && started
	}
	return nil
}

// imageList is a list of the pod spec that has images.
type imageList struct {
	pointer string     // the beginning of the pointers of its references
	status  string     // the field of the pod's status about them; "" if there is none
	kind    audit.Type // of its containers or volumes
}

// imageLists returns all lists of the pod spec that have images.
func imageLists() []imageList {
	return []imageList{
		{"/spec/containers/", "containerStatuses", audit.TypeContainer},
		{"/spec/initContainers/", "initContainerStatuses", audit.TypeInit},
		{"/spec/ephemeralContainers/", "ephemeralContainerStatuses", audit.TypeEphemeral},
		{"/spec/volumes/", "", audit.TypeVolume},
	}
}

// listOf returns the list that a reference is in.
func listOf(r workload.Reference) imageList {
	for _, l := range imageLists() {
		if strings.HasPrefix(r.Pointer, l.pointer) {
			return l
		}
	}
	return imageList{}
}

// list returns what a field of the status says about containers.
func (p *pod) list(field string) (all []containerStatus, err error) {
	if raw := p.Status[field]; raw != nil {
		err = decode(raw, &all)
	}
	return all, err
}

// statuses returns what a field of the status says about containers, by name.
func (p *pod) statuses(field string) (map[string]containerStatus, error) {
	all, err := p.list(field)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]containerStatus, len(all))
	for _, s := range all {
		byName[s.Name] = s
	}
	return byName, nil
}

// volumes returns what the status says about volumes with images, by the names of their references.
// If several containers mount a volume, the first one of imageLists counts.
func (p *pod) volumes() (map[string]containerStatus, error) {
	byName := map[string]containerStatus{}
	for _, l := range imageLists() {
		all, err := p.list(l.status)
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			for _, m := range s.VolumeMounts {
				name, image := "volume/"+m.Name, m.VolumeStatus.Image.ImageRef
				if image != "" && byName[name].ImageID == "" {
					byName[name] = containerStatus{Name: name, ImageID: image}
				}
			}
		}
	}
	return byName, nil
}
