# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: test
test: verify unit ## all that CI runs

.PHONY: verify
verify: ## formatting and vet
	@test -z "$$(gofmt -l cmd pkg hack)" || { gofmt -l cmd pkg hack; exit 1; }
	go vet ./...

.PHONY: unit
unit: ## unit tests, with the race detector, in random order
	go test -race -shuffle=on ./...
