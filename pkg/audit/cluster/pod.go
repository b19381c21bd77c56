// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tagpin/tagpin/pkg/audit"
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
			group, _, found := strings.Cut(o.APIVersion, "/")
			if !found {
				group = ""
			}
			return audit.Owner{Group: group, Kind: o.Kind, Name: o.Name, UID: o.UID}.Valid()
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
}

// readPod returns a pod as an audit needs it, from its JSON.
func readPod(raw []byte) (audit.Pod, error) {
	var p pod
	if err := decode(raw, &p); err != nil {
		return audit.Pod{}, err
	}
	a := audit.Pod{
		Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, Owner: p.Metadata.controller(),
	}
	object, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, raw)
	switch {
	case errors.Is(err, workload.ErrTooManyReferences):
		a.TooMany = true
		return a, nil
	case err != nil || len(object.PodSpecs) == 0:
		return a, err
	}
	spec := &object.PodSpecs[0]
	a.Identity = spec.Identity
	status := map[string]map[string]containerStatus{}
	started := false
	for _, r := range spec.References {
		list := listOf(r)
		if status[list] == nil {
			if status[list], err = p.statuses(list); err != nil {
				return a, err
			}
		}
		c := audit.Container{
			Name: strings.TrimPrefix(r.Name, "volume/"), Type: typeOf(list), Image: r.Text,
			ImageID: status[list][r.Name].ImageID, Never: r.Never,
		}
		if c.Type == audit.TypeEphemeral && status[list][r.Name].State.Terminated != nil {
			continue // it never runs again
		}
		started = started || c.ImageID != ""
		a.Containers = append(a.Containers, c)
	}
	for i := range a.Containers {
		c := &a.Containers[i]
		c.Mounted = c.Type == audit.TypeVolume && started
	}
	return a, nil
}

// listOf returns the field of the pod spec that a reference is in: containers, initContainers,
// ephemeralContainers or volumes. It is "" for a reference without a text.
func listOf(r workload.Reference) string {
	if parts := strings.Split(r.Pointer, "/"); len(parts) > 2 { // /spec/containers/0/image
		return parts[2]
	}
	return ""
}

// typeOf returns the type of the containers, or volumes, in a list of the pod spec.
func typeOf(list string) audit.Type {
	return audit.Type(strings.TrimSuffix(strings.TrimSuffix(list, "Containers"), "s"))
}

// statuses returns what the status says about the containers in a list of the pod spec, by name.
func (p *pod) statuses(list string) (map[string]containerStatus, error) {
	var all []containerStatus
	if raw := p.Status[strings.TrimSuffix(list, "s")+"Statuses"]; raw != nil {
		if err := decode(raw, &all); err != nil {
			return nil, err
		}
	}
	byName := make(map[string]containerStatus, len(all))
	for _, s := range all {
		byName[s.Name] = s
	}
	return byName, nil
}
