# SPDX-License-Identifier: Apache-2.0
# Needs Go, make and git; other tools are built from hack/tools at the versions of its go.mod, into CACHE.
.DEFAULT_GOAL := help

CACHE   ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tagpin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Built tools are kept by what they are built from.
TOOLS   := $(CACHE)/tools-$(shell cat hack/tools/go.sum | cksum | cut -d' ' -f1)
GOFUMPT := $(TOOLS)/gofumpt
LINT    := $(TOOLS)/golangci-lint
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$(VERSION)"

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: verify unit ## all that CI runs

.PHONY: verify
verify: $(GOFUMPT) $(LINT) ## formatting, vet, lint, go.mod
	@unformatted=$$($(GOFUMPT) -l cmd pkg hack); test -z "$$unformatted" || { echo "not formatted (run make fmt):"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$(LINT) run ./...
	go mod tidy -diff

.PHONY: unit
unit: ## unit tests, with the race detector, in random order
	go test -race -shuffle=on ./...

.PHONY: fmt
fmt: $(GOFUMPT) ## format all Go files
	$(GOFUMPT) -w cmd pkg hack

.PHONY: demo
demo: ## see it pin, in ten seconds, without a cluster
	@go run ./hack/demo

.PHONY: build
build: ## both binaries, static and reproducible, into bin
	$(BUILD) -o bin/ ./cmd/...

.PHONY: fuzz
fuzz: ## every fuzz target, a minute each
	@go list ./... | while read -r pkg; do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime 60s $$pkg || exit 1; \
	  done; \
	done

.PHONY: clean
clean: ## remove what was built here; the caches stay
	rm -rf bin

$(GOFUMPT):
	@echo "building gofumpt into $(TOOLS)" >&2
	@cd hack/tools && CGO_ENABLED=0 GOBIN=$(TOOLS) go install -trimpath mvdan.cc/gofumpt

$(LINT):
	@echo "building golangci-lint into $(TOOLS); about a minute, once" >&2
	@cd hack/tools && CGO_ENABLED=0 GOBIN=$(TOOLS) go install -trimpath github.com/golangci/golangci-lint/v2/cmd/golangci-lint
