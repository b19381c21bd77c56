// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// advice returns what the user of a program can do about a failed lookup of an image, or "" if the
// error says it already.
func advice(err error, program string) string {
	host := registry.HostOf(err)
	if host == "" { // such as an index without a manifest for the platform
		return ""
	}
	switch failure.Of(err) {
	case failure.NotFound:
		return "check the image's name and tag or, if the image is private, log in to " + host +
			"; see " + program + " help logins"
	case failure.Unauthorized:
		return "check the image's name, or log in to " + host + "; see " + program + " help logins"
	}
	return ""
}

// advised adds the advice to the error of a lookup as a hint.
func advised(err error, program string) error {
	if hint := advice(err, program); hint != "" {
		return hinted(err, hint)
	}
	return err
}

// adviseOnce adds hints to the errors of lookups, some of which may be nil. If several have the
// same one, only the first gets it.
func adviseOnce(errs []error, program string) {
	given := map[string]bool{}
	for i, err := range errs {
		if err == nil {
			continue
		}
		if hint := advice(err, program); !given[hint] {
			given[hint] = true
			errs[i] = advised(err, program)
		}
	}
}
