// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// validateSelector returns an error if the API server would refuse a label selector.
func validateSelector(list []metav1.LabelSelectorRequirement) error {
	_, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: list})
	return err
}

// expressions returns each expression of a label selector as YAML.
func expressions(list []metav1.LabelSelectorRequirement) (all []string) {
	for _, e := range list {
		text := fmt.Sprintf("{key: %s, operator: %s", word(e.Key), e.Operator)
		if len(e.Values) > 0 {
			text += fmt.Sprintf(", values: [%s]", words(e.Values))
		}
		all = append(all, text+"}")
	}
	return all
}

// Selected returns the condition that an object is a Pod, or has the labels that Objects demands.
// Pods are what runs, and their labels are the tenant's. If a label could exclude a Pod, a tenant
// could run an image that is not pinned.
func (r *Registration) Selected() string {
	var all []string
	for _, e := range r.Objects {
		label := fmt.Sprintf("object.?metadata.?labels[?'%s']", e.Key)
		is := label + ".hasValue()"
		if len(e.Values) > 0 {
			is = fmt.Sprintf("(%s && %s.orValue('') in ['%s'])",
				is, label, strings.Join(e.Values, "', '"))
		}
		switch e.Operator {
		case metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpDoesNotExist:
			is = "!" + is
		}
		all = append(all, is)
	}
	return "request.kind.kind == 'Pod' || (\n  " + strings.Join(all, " &&\n  ") + ")"
}
