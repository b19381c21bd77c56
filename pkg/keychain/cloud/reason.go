// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"errors"
	"net"
	"regexp"

	"golang.org/x/oauth2"
)

// code matches the codes of errors that clouds document, such as AccessDenied.
var code = regexp.MustCompile(`^[A-Za-z0-9._]{1,64}$`)

// Reason returns why a cloud gave no credential, for the log. The errors of the libraries may
// contain answers and tokens, so the text has only the code of the error or the status of the
// answer, if there is one.
func Reason(err error) string {
	var (
		coded   interface{ ErrorCode() string } // Amazon's library
		status  *oauth2.RetrieveError
		timeout interface{ Timeout() bool }
	)
	for _, known := range []error{errDockerConfig, errTooLarge} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	switch {
	case errors.As(err, &coded) && code.MatchString(coded.ErrorCode()):
		return "the cloud answered " + coded.ErrorCode()
	case errors.As(err, &status) && status.Response != nil:
		return "the cloud answered " + status.Response.Status
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the cloud did not answer in time"
	case errors.As(err, new(*net.DNSError)):
		return "the cloud's name can't be looked up in DNS"
	case errors.As(err, new(*net.OpError)):
		return "no connection to the cloud"
	}
	return "there is no identity, or the cloud refused it"
}
