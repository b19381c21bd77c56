// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"fmt"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
	"github.com/tagpin/tagpin/pkg/workload"
)

// This example scans a Pod and pins its references. Each outcome has the JSON pointer of its
// reference, the reason and the new value of the field.
func Example() {
	object, err := (&workload.Table{}).Scan(workload.Kind{Kind: "Pod"}, []byte(`{"spec":{"containers":[
		{"name":"web","image":"nginx:1.25"},
		{"name":"local","image":"test","imagePullPolicy":"Never"}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := &resolvetest.Fake{}
	registry.Set("nginx:1.25", resolvetest.Digest("its manifest"))
	pinner := &pin.Pinner{Resolver: registry}
	result := pinner.Pin(context.Background(), pin.Request{
		Input: policy.Input{Operation: policy.Create, Object: object}, Namespace: "shop",
	})
	for _, o := range result.Outcomes {
		fmt.Printf("%s: %s\n%s\n", o.Reference.Pointer, o.Reason, o.Pin)
	}
	// Output: /spec/containers/0/image: tag
	// nginx:1.25@sha256:0d4679321c3b471222379561ffb3fda845f6f6e9962ef2e92055f3d518627df4
	// /spec/containers/1/image: never-pull
}
