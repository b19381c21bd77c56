// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"strings"

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

// pod has the fields of a pod that are needed.
type pod struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		ServiceAccountName string `json:"serviceAccountName"`
		ImagePullSecrets   []struct {
			Name string `json:"name"`
		} `json:"imagePullSecrets"`
		InitContainers      []container `json:"initContainers"`
		Containers          []container `json:"containers"`
		EphemeralContainers []container `json:"ephemeralContainers"`
		Volumes             []struct {
			Name  string `json:"name"`
			Image *struct {
				Reference string `json:"reference"`
			} `json:"image"`
		} `json:"volumes"`
	} `json:"spec"`
	Status struct {
		InitContainerStatuses      statuses `json:"initContainerStatuses"`
		ContainerStatuses          statuses `json:"containerStatuses"`
		EphemeralContainerStatuses statuses `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

type statuses []struct {
	Name    string `json:"name"`
	ImageID string `json:"imageID"`
	State   struct {
		Terminated *struct{} `json:"terminated"`
	} `json:"state"`
}

// audited returns the pod as an audit needs it.
func (p *pod) audited() audit.Pod {
	a := audit.Pod{
		Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, Owner: p.Metadata.controller(),
		Identity: workload.Identity{ServiceAccount: p.Spec.ServiceAccountName},
	}
	for _, s := range p.Spec.ImagePullSecrets {
		if s.Name != "" && len(a.Identity.PullSecrets) < workload.MaxPullSecrets {
			a.Identity.PullSecrets = append(a.Identity.PullSecrets, s.Name)
		}
	}
	add := func(t audit.Type, containers []container, all statuses) {
		for _, c := range containers {
			id, ended := all.of(c.Name)
			if t == audit.TypeEphemeral && ended {
				continue // it never runs again
			}
			a.Containers = append(a.Containers,
				audit.Container{Name: c.Name, Type: t, Image: c.Image, ImageID: id})
		}
	}
	add(audit.TypeInit, p.Spec.InitContainers, p.Status.InitContainerStatuses)
	add(audit.TypeContainer, p.Spec.Containers, p.Status.ContainerStatuses)
	add(audit.TypeEphemeral, p.Spec.EphemeralContainers, p.Status.EphemeralContainerStatuses)
	mounted := slices.ContainsFunc(a.Containers,
		func(c audit.Container) bool { return c.ImageID != "" })
	for _, v := range p.Spec.Volumes {
		if v.Image != nil {
			a.Containers = append(a.Containers, audit.Container{
				Name: v.Name, Type: audit.TypeVolume, Image: v.Image.Reference, Mounted: mounted,
			})
		}
	}
	return a
}

// of returns what the status says about a container: the ID of its image, and whether it has ended.
func (s statuses) of(name string) (imageID string, ended bool) {
	for _, status := range s {
		if status.Name == name {
			return status.ImageID, status.State.Terminated != nil
		}
	}
	return "", false
}
