// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"

	"golang.org/x/oauth2"
)

// coded is an error like those of Amazon's library.
type coded string

func (coded) Error() string       { return "canary" }
func (c coded) ErrorCode() string { return string(c) }

// TestReason checks that the reason names a code or a status, and nothing else of an answer.
func TestReason(t *testing.T) {
	refused := &oauth2.RetrieveError{
		Response: &http.Response{Status: "403 Forbidden"}, Body: []byte("canary"),
	}
	const other = "there is no identity, or the cloud refused it"
	for want, err := range map[string]error{
		"the cloud answered AccessDeniedException":   fmt.Errorf("ecr: %w", coded("AccessDeniedException")),
		"the cloud answered 403 Forbidden":           errors.Join(errNone, refused),
		"the cloud did not answer in time":           fmt.Errorf("canary: %w", context.DeadlineExceeded),
		"the cloud's name can't be looked up in DNS": &net.OpError{Err: &net.DNSError{Name: "canary"}},
		"no connection to the cloud":                 &net.OpError{Op: "dial", Err: errors.New("canary")},
		errDockerConfig.Error():                      errors.Join(errNone, errDockerConfig),
	} {
		if got := Reason(err); got != want {
			t.Errorf("Reason(%v) = %s, want %s", err, got, want)
		}
	}
	for _, err := range []error{coded("canary\nx"), errNone, errors.New("canary")} {
		if got := Reason(err); got != other {
			t.Errorf("Reason(%v) = %s, want %s", err, got, other)
		}
	}
}
