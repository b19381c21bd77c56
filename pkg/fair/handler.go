// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"net"
	"net/http"
)

// Handler returns a handler whose requests wait for their turn, each of which takes 1 of the
// capacity. Addresses share the queue as namespaces do. A request whose sender has gone leaves it.
func (q *Queue) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			from = r.RemoteAddr
		}
		leave, err := q.Enter(r.Context(), from, 1)
		if err != nil {
			http.Error(w, "no turn: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}
