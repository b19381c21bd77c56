// SPDX-License-Identifier: Apache-2.0

// Package page looks at the page of an audit in a real Chromium: on a phone, on a desk, in the
// dark, and without scripts. It is a module of its own, which keeps the client of Chromium out of
// the root module.
package page
