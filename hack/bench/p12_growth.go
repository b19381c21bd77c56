// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// point is a load of growing size: of a server with many cached images, or of large objects.
type point struct {
	name    string // of its samples
	size    int
	to      *server
	reviews [][]byte
	costs   []float64 // microseconds for one admission, by round
}

// cost returns the median cost of an admission.
func (p *point) cost() float64 { return report.Median(p.costs) }

// exponent returns the exponent with which the cost grows between two points. It is 1 if the cost
// grows as the size does, and 0 if it stays the same.
func exponent(from, to *point) float64 {
	return math.Log(to.cost()/from.cost()) / math.Log(float64(to.size)/float64(from.size))
}

// growth measures row P12: how the cost of an admission grows with the number of cached images,
// with the number of containers, and with the size of the object. What is fixed in a cost hides how
// the rest of it grows, so the exponents are those of the last step, between the two largest sizes.
func growth(ctx context.Context, st *stage, r *report.Report) error {
	pools, err := st.pools(ctx)
	if err != nil {
		return err
	}
	containers, err := st.containers(ctx)
	if err != nil {
		return err
	}
	objects, err := st.objects(ctx)
	if err != nil {
		return err
	}
	var all []*point
	for _, points := range [][]*point{pools, containers, objects} {
		all = append(all, points...)
	}
	for round := range st.rounds + 1 { // the first round warms up
		for _, p := range all {
			l, err := st.run(ctx, p.to, p.reviews, true, st.duration/2)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if round > 0 {
				p.costs = append(p.costs, l.costOrTime())
				r.Sample(p.name, report.Of(l.costOrTime(), "µs/admission"))
			}
		}
	}
	last := func(points []*point) float64 {
		return exponent(points[len(points)-2], points[len(points)-1])
	}
	few, many := pools[0], pools[len(pools)-1]
	r.AtMost("P12", fmt.Sprintf("an admission with %d cached images ÷ with %d", many.size, few.size),
		many.cost()/few.cost(), 1.3, "")
	r.AtMost("P12", "growth with the containers, up to 100: exponent", last(containers), 1, "")
	r.AtMost("P12", "growth with the size, up to 1 MiB: exponent", last(objects), 1, "")
	return nil
}

// costOrTime returns the processor time for one request in microseconds, or the time if the
// processor time is unknown.
func (l load) costOrTime() float64 {
	if l.cpu > 0 {
		return l.cost()
	}
	return 1e6 / l.perSecond
}

// pools returns a server for each number of cached images. The Pods draw their images at random.
func (st *stage) pools(ctx context.Context) ([]*point, error) {
	const pods = 4000 // far more than the images that a processor's cache holds
	sizes := []int{10, 1000, 100_000}
	if st.quick {
		sizes = []int{10, 10_000}
	}
	var points []*point
	for _, size := range sizes {
		to, err := st.startTagpin(ctx, fmt.Sprint("pool", size), max(2*size, defaultSize))
		if err != nil {
			return nil, err
		}
		p := &point{name: fmt.Sprintf("Pool/%d", size), size: size, to: to}
		if err := st.resolveMany(ctx, p.to, 0, size); err != nil {
			return nil, err
		}
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // each run draws the same
		for range min(size, pods) {
			a, b := st.anyImage(random.IntN(size)), st.anyImage(random.IntN(size))
			body, err := review(true, a, b)
			if err != nil {
				return nil, err
			}
			p.reviews = append(p.reviews, body)
		}
		points = append(points, p)
	}
	return points, nil
}

// containers returns Pods with a growing number of containers, each with another cached image.
func (st *stage) containers(ctx context.Context) ([]*point, error) {
	var points []*point
	for _, n := range []int{1, 10, 100} {
		var images []string
		for i := range n {
			images = append(images, st.anyImage(i))
		}
		body, err := review(true, images...)
		if err := errors.Join(err, st.admitted(ctx, st.tagpin, body)); err != nil {
			return nil, err
		}
		points = append(points, &point{
			name: fmt.Sprintf("Containers/%d", n), size: n, to: st.tagpin, reviews: [][]byte{body},
		})
	}
	return points, nil
}

// objects returns Pods of a growing size. They have many environment variables.
func (st *stage) objects(ctx context.Context) ([]*point, error) {
	var points []*point
	for _, kib := range []int{3, 30, 300, 1024} {
		body, err := largeObject(kib<<10, st.anyImage(0), st.anyImage(1))
		if err := errors.Join(err, st.admitted(ctx, st.tagpin, body)); err != nil {
			return nil, err
		}
		points = append(points, &point{
			name: fmt.Sprintf("Object/%dKiB", kib), size: len(body), to: st.tagpin,
			reviews: [][]byte{body},
		})
	}
	return points, nil
}

// largeObject returns a review of a Pod of about the given number of bytes.
func largeObject(size int, images ...string) ([]byte, error) {
	p := pod(controller(), images)
	small, err := reviewOf(true, p)
	if err != nil || len(small) >= size {
		return small, err
	}
	const line, around = 100, len(`{"name":"","value":""},`) // lengths of a variable as JSON
	env := []any{}
	for i := range (size - len(small)) / line {
		name := fmt.Sprintf("VARIABLE_%06d", i)
		env = append(env, values{"name": name, "value": strings.Repeat("v", line-around-len(name))})
	}
	first := p["spec"].(values)["containers"].([]any)[0].(values)
	first["env"] = env
	return reviewOf(true, p)
}
