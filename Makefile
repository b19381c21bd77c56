# SPDX-License-Identifier: Apache-2.0
#
# This needs Go, make and git. Other tools are built into CACHE, at the versions in
# hack/tools/go.mod.
.DEFAULT_GOAL := help

CACHE   ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tagpin
BIN     := bin
# The commit has twelve digits, because the length that git chooses differs between clones.
VERSION ?= $(shell git describe --tags --always --abbrev=12 --dirty 2>/dev/null || echo dev)
# The folder of the tools has a checksum in its name, so that other versions get another folder.
TOOLS   := $(CACHE)/tools-$(shell cat hack/tools/go.sum | cksum | cut -d' ' -f1)
# GoReleaser has many dependencies, and only make release and its test need it.
RELEASER := $(CACHE)/release-$(shell cat hack/release/go.sum | cksum | cut -d' ' -f1)/goreleaser
GOFUMPT := $(TOOLS)/gofumpt
LINT    := $(TOOLS)/golangci-lint
# gotestsum runs go test, and lists failed and skipped tests again at the end.
TEST    := $(TOOLS)/gotestsum --format standard-quiet --
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$(VERSION)"

# $(call say,PART,COLD,WARM) prints which part runs, and how long it takes on two cores.
, := ,
say = @echo "== $(1) (about $(2) from empty caches, $(3) after that)" >&2

.PHONY: help test prepare beside-node test-oldest verify unit test-tools e2e test-node test-versions test-neighbours cluster node \
  bench docs fmt demo build image release test-release fuzz clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Modules of their own, which keep the many dependencies of gator, Helm, krew, oras, Prometheus and of
# Chromium's client out of the root module.
OTHERS  := hack/dist hack/gatekeeper hack/helm hack/image hack/observability hack/page
# How the go commands of all other modules build. The tests of e2e build Kubernetes in the same way:
# otherwise it would be compiled twice.
STATIC  := CGO_ENABLED=0 GOFLAGS=-trimpath
E2E     := cd e2e && $(STATIC)

# The make of macOS does not know this option, so that the lines of two parts mix there.
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: $(TOOLS)/built prepare ## verify, unit, test-tools, e2e and test-node; CI runs these and test-versions
	$(call say,test: the output of each part comes when it ends,60 min,20 min)
	@TAGPIN_E2E_KUBERNETES=$(firstword $(VERSIONS)) $(MAKE) --no-print-directory prepare
	@# The tests of a node wait more than they compute, so other parts run at the same time. They have a
	@# lower priority, because test-node tests under load.
	@$(MAKE) --no-print-directory --jobs=2 $(SYNC) test-node beside-node
	@$(MAKE) --no-print-directory e2e

# One package at a time, since test-node needs most of the processor now and then.
beside-node:
	+@for part in verify unit test-tools test-oldest; do \
	  nice $(MAKE) --no-print-directory UNIT='-p 1' $$part || exit 1; \
	done

# What admission does is also tested with the oldest Kubernetes.
test-oldest:
	@$(MAKE) --no-print-directory test-versions VERSIONS=$(firstword $(VERSIONS)) SUITES='. ./kinds'

# Builds what the tests of e2e run, so that their time limits don't include it.
prepare:
	@$(E2E) go run ./cmd/prepare

verify: $(TOOLS)/built ## check formatting, vet, lint, generated docs, go.mod
	$(call say,verify: formatting$(,) vet$(,) lint$(,) generated docs$(,) go.mod,20 min,3 min)
	@unformatted=$$($(GOFUMPT) -l cmd pkg hack e2e); test -z "$$unformatted" || { echo "not formatted (run make fmt):"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$(LINT) run ./...
	go mod tidy -diff
	go run ./hack/docs -check
	$(E2E) go vet ./...
	$(E2E) $(LINT) run --config ../.golangci.yml ./...
	cd e2e && go mod tidy -diff
	@# The first build takes longer than the linter's time limit.
	cd e2e/programs && $(STATIC) go vet ./... && go mod tidy -diff
	@for version in e2e/versions/*; do (cd $$version && go mod tidy -diff) || exit 1; done
	@for module in $(OTHERS); do \
	  echo "verify $$module"; (cd $$module && $(STATIC) $(LINT) run --config ../../.golangci.yml ./... && go mod tidy -diff) || exit 1; \
	done

unit: $(TOOLS)/built ## run the unit tests with the race detector, in random order
	$(call say,unit: unit tests with the race detector,7 min,3 min)
	CGO_ENABLED=1 $(TEST) -race -shuffle=on $(UNIT) ./...
	@# The line above leaves out the tests with the build tag !race.
	$(TEST) -shuffle=on ./pkg/manifest

test-tools: $(TOOLS)/built ## test with others' tools: gator, Helm, oras, Prometheus, Chromium
	$(call say,test-tools: policies$(,) chart$(,) image$(,) alerts and the page of audits with gator$(,) Helm$(,) oras$(,) Prometheus and Chromium,8 min,3 min)
	@# hack/page needs a Chromium, of about 300 MB. hack/dist completes commands in zsh and fish, and
	@# runs pre-commit. Debian's packages are installed if they are missing. Elsewhere hack/page fails
	@# and says so, and hack/dist skips tests.
	@missing=; for program in $${CHROMIUM:-chromium} zsh fish pre-commit; do \
	  command -v $$program > /dev/null || missing="$$missing $$(basename $$program)"; done; \
	if [ "$$missing" ] && command -v apt-get > /dev/null; then \
	  echo "installing Debian's packages:$$missing" >&2; \
	  apt-get update --quiet > /dev/null && DEBIAN_FRONTEND=noninteractive \
	  apt-get install --yes --no-install-recommends $$missing > /dev/null || \
	  echo "these could not be installed:$$missing" >&2; fi
	@# Build before the tests, so that the time limits of the tests don't include the builds.
	@cd hack/gatekeeper && $(STATIC) go tool gator --help > /dev/null
	@cd hack/image && $(STATIC) go build -o /dev/null oras.land/oras/cmd/oras
	@for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(BUILD) -o /dev/null ./cmd/... || exit 1; done
	@# -count=1 switches off the cache of test results, which does not notice changes in deploy.
	@for module in $(OTHERS); do (cd $$module && $(STATIC) $(TEST) -shuffle=on -count=1 -timeout 30m ./...) || exit 1; done

e2e: $(TOOLS)/built prepare ## test with real registries, a real API server and its controllers
	$(call say,e2e: real registries and a real API server; builds Kubernetes the first time,30 min,7 min)
	$(E2E) $(TEST) -shuffle=on -count=1 -timeout 30m $$(go list ./... | grep -v -e /whole$$ -e /neighbours/)

test-node: $(TOOLS)/built prepare ## test with a whole node, under load; needs Linux and root
	$(call say,test-node: a whole node; builds Kubernetes the first time,30 min,12 min)
	@# The output has figures.
	$(E2E) $(subst quiet,verbose,$(TEST)) -shuffle=on -count=1 -timeout 30m ./whole

test-neighbours: $(TOOLS)/built ## test with Flux and others as real programs; writes deploy/docs/compatibility.md
	$(call say,test-neighbours: tagpin beside Flux and others; builds Kubernetes and these programs the first time,80 min,12 min)
	@$(E2E) go run ./cmd/prepare neighbours # builds before the tests, as above
	@# verify leaves these modules out, because their dependencies take minutes to compile.
	@for module in e2e/neighbours/programs/*; do \
	  test -z "$$(find $$module -name '*.go')" || (cd $$module && $(STATIC) go vet ./...) || exit 1; \
	done
	@# One neighbour after another, because each has a cluster of its own.
	$(E2E) $(TEST) -p 1 -count=1 -timeout 60m $$(go list ./neighbours/... | grep /neighbours/) -update
	go run ./hack/docs

# The older versions of Kubernetes, the oldest first, and the tests that run with them.
VERSIONS := $(sort $(notdir $(wildcard e2e/versions/*)))
SUITES   := . ./kinds ./controllers ./certificates ./chart

test-versions: $(TOOLS)/built ## test with the older versions of Kubernetes in e2e/versions
	$(call say,test-versions: older Kubernetes$(,) here $(VERSIONS); builds Kubernetes the first time,28 min,8 min)
	@for version in $(VERSIONS); do \
	  echo "Kubernetes $$version" >&2; export TAGPIN_E2E_KUBERNETES=$$version; \
	  ($(E2E) go run ./cmd/prepare) && \
	  ($(E2E) $(TEST) -shuffle=on -count=1 -timeout 30m $(SUITES)) || exit 1; \
	done

cluster: ## run a real API server with tagpin, to try it, until Ctrl-C
	$(call say,cluster: builds Kubernetes and tagpin-webhook the first time,12 min,20 s)
	@$(E2E) go build -o ../bin/cluster ./cmd/cluster && exec ../bin/cluster

node: ## run a whole node with tagpin in it, to try it, until Ctrl-C; needs Linux and root
	@test "$$(uname)" = Linux -a "$$(id -u)" = 0 || { echo "make node needs Linux and root, because a node needs namespaces and cgroups of its own; make cluster needs neither" >&2; exit 1; }
	$(call say,node: builds Kubernetes and tagpin's image the first time,14 min,1 min)
	@$(E2E) go build -o ../bin/node ./cmd/node && exec ../bin/node

bench: $(TOOLS)/built ## measure the performance; BENCH_FLAGS=-quick takes two minutes
	$(call say,bench: measures tagpin alone and in a cluster; builds Kubernetes the first time,30 min,15 min)
	go run ./hack/bench -benchstat $(TOOLS)/benchstat $(BENCH_FLAGS)

docs: ## write the generated parts of the docs, and deploy/kustomize
	go run ./hack/docs
	cd hack/helm && $(STATIC) go run .

fmt: $(TOOLS)/built ## format all Go files
	$(GOFUMPT) -w cmd pkg hack e2e

demo: ## show what tagpin does, without a cluster; takes ten seconds once it is built
	$(call say,demo: builds a registry and tagpin-webhook and shows what they answer,6 min,10 s)
	@go run ./hack/demo

build: ## build both binaries, static and reproducible, into bin
	$(BUILD) -o $(BIN)/ ./cmd/...

image: ## build the image and its SBOMs into bin/image; IMAGE_FLAGS='--push REF' pushes it
	$(call say,image: builds the binaries of each platform,8 min,1 min)
	@cd hack/image && $(STATIC) go build -o ../../bin/make-image .
	@bin/make-image --version '$(VERSION)' $(IMAGE_FLAGS)

# The version as Helm and GoReleaser want it: without the v. A commit without a tag has none, so that
# it gets one that is older than any release.
SEMVER   = $(patsubst v%,%,$(if $(filter v%,$(VERSION)),$(VERSION),v0.0.0-g$(VERSION)))
# Without these flags, GoReleaser signs and publishes, as the release workflow does.
RELEASE_FLAGS ?= --snapshot --skip=sign

release: $(RELEASER) ## build a release into bin/release: archives, chart, SBOMs, checksums, krew's manifest
	$(call say,release: builds the image$(,) and tagpin for six platforms,25 min,2 min)
	@# Without a remote, GoReleaser knows neither the tag nor the time of the commit, and says nothing.
	@git remote get-url origin > /dev/null
	@rm -rf bin/extra && mkdir -p bin/extra
	@$(MAKE) --silent image > bin/image.digest
	@for arch in amd64 arm64; do \
	  cp bin/image.linux-$$arch.cdx.json bin/extra/tagpin-webhook_linux_$$arch.cdx.json || exit 1; \
	done
	@cd hack/helm && $(STATIC) go run . package --version '$(SEMVER)' --tag '$(VERSION)' \
	  --digest "$$(cat ../../bin/image.digest)" --epoch "$$(git log -1 --format=%ct)" --output ../../bin/extra
	@VERSION='$(VERSION)' SEMVER='$(SEMVER)' IMAGE_DIGEST="$$(cat bin/image.digest)" PATH="$(CURDIR)/bin:$$PATH" \
	  $(RELEASER) release --clean --config hack/release/goreleaser.yaml $(RELEASE_FLAGS)
	@cp bin/extra/* bin/release

test-release: $(RELEASER) ## build a release twice, compare the two, and install it with krew
	$(call say,test-release: builds two releases,40 min,8 min)
	cd hack/dist && $(STATIC) go test -tags release -run TestRelease -count=1 -timeout 60m .

fuzz: ## run every fuzz target for a minute
	@echo "fuzz: each target runs for a minute once it is built" >&2
	@go list ./... | while read -r pkg; do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime 60s -fuzzminimizetime 10x $$pkg || exit 1; \
	  done; \
	done

clean: ## remove bin; the caches stay
	rm -rf bin

$(RELEASER):
	@echo "building GoReleaser into $(@D); several minutes, once" >&2
	@cd hack/release && $(STATIC) GOBIN=$(@D) go install tool

$(TOOLS)/built:
	@echo "building gofumpt, golangci-lint, gotestsum and benchstat into $(TOOLS); about a minute, once" >&2
	@cd hack/tools && CGO_ENABLED=0 GOBIN=$(TOOLS) go install -trimpath tool
	@touch $@
