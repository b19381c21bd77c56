// SPDX-License-Identifier: Apache-2.0

package workload

// Size returns the number of references and pod specs of an object, by which the memory that it
// takes is estimated. The size of a nil object is 0.
func (o *Object) Size() int {
	if o == nil {
		return 0
	}
	size := len(o.PodSpecs)
	for i := range o.PodSpecs {
		size += len(o.PodSpecs[i].References)
	}
	return size
}
