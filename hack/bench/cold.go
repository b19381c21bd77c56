// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// fromNothing is P5: the first Pod that a new process sees, of a registry that wants a token for each repository.
func fromNothing(ctx context.Context, st *stage, _ settings, r *report) error {
	const answer = 200 * time.Millisecond // what the machine itself takes must not look like a round trip
	defer st.images.delay.Store(0)
	most := 0
	for _, containers := range []int{1, 10, 40} {
		st.images.delay.Store(0)
		var refs []string
		for i := range containers {
			repository := fmt.Sprintf("nothing/app%d", i)
			if err := st.images.push(ctx, repository, "1"); err != nil {
				return err
			}
			refs = append(refs, st.registry+"/"+repository+":1")
		}
		body, err := review(false, refs...)
		if err != nil {
			return err
		}
		fresh, err := st.startTagpin(ctx, fmt.Sprintf("nothing%d", containers), defaultSize)
		if err != nil {
			return err
		}
		st.images.delay.Store(int64(answer))
		st.images.trace()
		if err := st.admitted(ctx, fresh, body, true); err != nil {
			return err
		}
		trips := st.images.chain()
		most = max(most, trips)
		r.sample(fmt.Sprintf("Nothing/%d", containers), 1, value{float64(trips), "roundtrips"})
	}
	r.count("P5", "first Pod of 1, 10, 40 images, bearer: round trips one after another", int64(most), 3, "")
	return nil
}
