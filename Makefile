# Graven. `make help` lists what can be made.
GO ?= go
export CGO_ENABLED = 0
TOOL = $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 5s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run the demonstration
	$(GO) run ./cmd/graven demo

.PHONY: build
build: ## build the command into ./bin
	$(GO) build -trimpath -o bin/graven ./cmd/graven

.PHONY: fmt
fmt: ## format everything
	$(TOOL) gofumpt -w .

.PHONY: lint
lint: ## look for what a reviewer should not have to find
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@out=$$($(TOOL) gofumpt -l .); [ -z "$$out" ] || { echo "not formatted:"; echo "$$out"; exit 1; }

.PHONY: quick
quick: ## before every commit: vet and the short tests (under 3 minutes)
	$(GO) vet ./...
	$(GO) test -short ./...

.PHONY: test
test: ## everything that must pass before a change lands
	$(GO) vet ./...
	$(GO) test -timeout 30m ./...

.PHONY: test-deep
test-deep: ## hours: the same with the race detector, more states, more fuzzing
	CGO_ENABLED=1 $(GO) test -race -timeout 60m ./...
	GRAVEN_DEEP=1 $(GO) test -timeout 240m ./...
	$(MAKE) fuzz FUZZTIME=5m

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

.PHONY: bench
bench: ## benchmarks, with the limits of this machine beside them
	$(GO) test -run '^$$' -bench . -benchtime 1s ./...

.PHONY: bench-peers
bench-peers: ## Graven beside other ledgers, whose modules it fetches; see bench/README.md
	cd bench && $(GO) run .

.PHONY: golden
golden: ## write the golden vectors of testdata/format again
	$(GO) test ./... -run 'Golden|Vectors' -update
