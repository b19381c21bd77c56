// SPDX-License-Identifier: Apache-2.0

// Command tagpin-webhook is the admission webhook. It serves /enforce, /dry-run and /keep over TLS,
// and on two other ports the probes and the metrics.
//
//	tagpin-webhook --config /etc/tagpin/config.yaml --cert-dir /etc/tagpin/tls
//	tagpin-webhook manifests --config config.yaml
//	tagpin-webhook resolve --config /etc/tagpin/config.yaml --namespace shop ghcr.io/shop/web:1
//	tagpin-webhook verify
//
// The second one prints the registration that belongs to a config. The third one looks an image up
// as the server does, to find out why a lookup fails. The fourth one calls the webhook as the API
// server does, to find out whether tagpin is installed correctly. The config says what the webhook
// does, the flags say where it listens and which files it reads.
//
// The process starts from top to bottom. A part only uses parts above it.
//
//	flags, config           flags.go, pkg/config    exit code 2 if they are wrong
//	log, memory limit       log.go, pkg/process
//	API server              apiserver.go            clients, its clock; none with --standalone
//	handlers                handlers.go, state.go   one for each mode, made from the config
//	tracing                 tracing.go, otlp.go
//	certificate             tls.go                  from --cert-dir; otherwise the registrar sets it
//	ports                   ports.go, bounds.go     opened, but not served yet
//	registrar               pkg/registrar
//	manager                 server.go               runs until the end:
//	├─ server of each port
//	├─ registrar                                    certificate and registration
//	├─ certificate files    tls.go                  read again every ten seconds
//	├─ client CAs           tls.go                  read again every five seconds
//	├─ registries' files    tls_reload.go           read again every ten seconds
//	└─ config file          config_reload.go        read again every second, for the handlers
//
// The other commands are in manifests.go, resolve.go and, for verify, verify.go, verify_checks.go
// and verify_review.go. The metrics of the process are in metrics.go.
//
// At SIGTERM the server is no longer ready, but serves for ten more seconds (drain.go). Then the
// manager stops: requests under way get their answers. At last the parts are closed from bottom to
// top: tracing sends its spans, and lookups and reads under way are cancelled.
package main
