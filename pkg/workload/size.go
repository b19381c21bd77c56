// SPDX-License-Identifier: Apache-2.0

package workload

// Count returns the number of references and pod specs of an object. That of a nil object is 0.
func (o *Object) Count() int {
	if o == nil {
		return 0
	}
	count := len(o.PodSpecs)
	for i := range o.PodSpecs {
		count += len(o.PodSpecs[i].References)
	}
	return count
}

// Size returns the number of references, pod specs and KiB of text that are kept of an object, by
// which the memory that it takes is estimated. The size of a nil object is 0.
func (o *Object) Size() int {
	if o == nil {
		return 0
	}
	text := textOf(&o.Metadata)
	for i := range o.PodSpecs {
		p := &o.PodSpecs[i]
		text += textOf(&p.Metadata) + len(p.Identity.ServiceAccount)
		for _, name := range p.Identity.PullSecrets {
			text += len(name)
		}
		for j := range p.References {
			text += len(p.References[j].Name) + len(p.References[j].Text)
		}
	}
	return o.Count() + text>>10
}

func textOf(m *Metadata) int {
	text := 0
	for _, texts := range []map[string]string{m.Labels, m.Annotations} {
		for _, value := range texts {
			text += len(value)
		}
	}
	return text
}
