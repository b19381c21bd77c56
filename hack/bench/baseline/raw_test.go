// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRawRefuses(t *testing.T) {
	for _, body := range []string{"", "{}", `{"uid":"never closed`} {
		w := httptest.NewRecorder()
		NewRaw().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/enforce", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("answer to %q = %d, want %d", body, w.Code, http.StatusBadRequest)
		}
	}
}
