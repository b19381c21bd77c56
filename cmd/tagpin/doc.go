// SPDX-License-Identifier: Apache-2.0

// Command tagpin pins image tags to digests, with the same code as the admission webhook. It edits
// and checks files, resolves and inspects images, audits what runs in a cluster, and makes and
// checks the webhook's config file.
//
//	tagpin pin --write deploy/
//	tagpin check deploy/
//	tagpin resolve nginx:1.25
//	tagpin inspect nginx:1.25
//	tagpin audit --namespace shop
//	tagpin config validate tagpin.yaml
//
// The result is written to stdout. Messages for people are written to stderr.
//
// Each command has a file of its own: pin.go, check.go, resolve.go, inspect.go, audit.go,
// config.go, completion.go and version.go. Parts of them are in files whose names begin in the same
// way. Beside them:
//
//	main.go, usage.go, format.go           commands and flags, errors in them, and exit codes
//	terminal.go, output.go, await.go       standard input and outputs, and the end by a signal
//	engine.go, patience.go                 from the flags to a resolver, as the webhook has it
//	advice.go                              what to do about a failed lookup
//	logins.go, kinds.go, markdown.go       help topics, and the page of all help
//
// Those that read images from files do it in this order:
//
//	find      files.go, find.go, folder.go, kustomize.go, elsewhere.go
//	parse     parse.go, images.go
//	compare   git.go, git_blobs.go, moved.go, edited.go, renewal.go
//	decide    decide.go, findings.go, hints.go, tally.go
//	resolve   pin_resolve.go
//	write     pin_output.go, pin_diff.go, write.go, owner_unix.go
package main
