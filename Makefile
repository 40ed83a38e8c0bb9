# What people type; `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
TOOLS := .tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := $(UV) run --locked
# BENCH_PYTHON=python3.13 measures with the Python of the images.
BENCH_ENV = $(if $(BENCH_PYTHON),UV_PYTHON=$(BENCH_PYTHON) UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(TOOLS)/bench)
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Two processes: half of the time of these tests is waiting for a cluster. Each file stays in one.
IN_TWO := --numprocesses=2 --dist=loadscope --no-loadscope-reorder
UNIT := tests/unit
SLOW_RELAY := drain facade_threads fuzz listen load metrics openapi probe secrets state_machine
FAST_RELAY := $(filter-out $(SLOW_RELAY:%=tests/relay/test_%.py),$(wildcard tests/relay/test_*.py))
CHECK := $(UNIT) tests/meta $(FAST_RELAY)
# Needs neither root nor a node. What needs no program comes first: programs are built meanwhile.
TEST := $(UNIT) tests/meta tests/relay tests/rules tests/integration tests/chart
# All that `make test` leaves out.
TEST_ALL := tests/bench tests/browser tests/ci tests/images tests/acceptance tests/e2e

.PHONY: help unit check dev demo test test-all acceptance bench-operator bench-relay e2e lint lint-python \
  format docs page pictures sync

help: ## list what can be typed
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

unit: sync ## the unit tests (seconds)
	$(RUN) pytest $(or $(PYTEST_ARGS),$(UNIT) $(IN_TWO))

check: lint-python ## Python lint, unit tests and a fast part of the others; builds no Go program (minutes)
	$(RUN) pytest $(or $(PYTEST_ARGS),$(CHECK) $(IN_TWO))

test: sync ## all tests that need neither root nor a node (PYTEST_ARGS="tests/rules -k alert" for some of them)
	$(RUN) pytest $(or $(PYTEST_ARGS),$(TEST) $(IN_TWO))

test-all: sync ## the tests that `make test` leaves out: node, images, browser, acceptance (root); none may be skipped
	TOKENPLACE_REQUIRE_ALL=1 $(RUN) pytest $(or $(PYTEST_ARGS),$(TEST_ALL) $(IN_TWO))

dev: sync ## `kopf run` of the working tree, on a control plane with a sample relay (ONCE=1: check and leave)
	@$(RUN) tokenplace-cluster dev $(if $(ONCE),--once)

demo: sync ## a relay made by the operator, on a real cluster (ONCE=1: check and leave; CONTEXT=name: on your cluster)
	@$(RUN) tokenplace-cluster demo $(if $(ONCE),--once) $(if $(CONTEXT),--context $(CONTEXT))

acceptance: sync ## the acceptance tests alone; writes docs/acceptance.md (root)
	TOKENPLACE_ACCEPTANCE_PAGE=docs/acceptance.md $(RUN) pytest tests/acceptance $(PYTEST_ARGS)

e2e: sync ## the tests of a relay in real pods, on your cluster (CONTEXT=name RELAY_IMAGE=... OPERATOR_IMAGE=...)
	TOKENPLACE_TEST_CONTEXT=$(CONTEXT) $(RUN) pytest tests/e2e/test_relay_pods.py

bench-operator: sync ## the operator next to its baselines, at 1, 100 and 1,000 relays (BENCH_ARGS="--counts 100")
	@$(RUN) tokenplace-cluster build kubernetes
	@# As in the image: compiled, and what only development needs would count as memory.
	@$(BENCH_ENV) UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(TOOLS)/operator $(UV) sync --locked --quiet --no-dev \
	  --no-editable --compile-bytecode --package tokenplace-operator --reinstall-package tokenplace-operator
	$(BENCH_ENV) $(RUN) tokenplace-bench operator --python $(CURDIR)/$(TOOLS)/operator/bin/python $(BENCH_ARGS)

bench-relay: sync ## the relay next to bare aiohttp (BENCH_ARGS="--url http://... --output FILE")
	@# As in the image: what only development needs would count as memory.
	@$(BENCH_ENV) UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(TOOLS)/relay $(UV) sync --locked --quiet --no-dev \
	  --package tokenplace-relay
	$(BENCH_ENV) $(RUN) python -m tokenplace_harness.bench --program $(CURDIR)/$(TOOLS)/relay/bin/tokenplace-relay $(BENCH_ARGS)

lint: lint-python ## style, types, import layers, workflows and Dockerfiles
	$(RUN) hadolint Dockerfile.relay Dockerfile.operator
	$(RUN) zizmor --offline --quiet --persona=pedantic .github
	"$$($(RUN) tokenplace-cluster program actionlint)"

lint-python: sync
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports --no-logo
	@git ls-files -s | awk '$$1 == 120000 {print "a link in the tree: " $$4; bad = 1} END {exit bad}'

format: sync ## put the style right
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

page: ## build the chat page from relay/page (needs Node 20 or newer)
	@cd relay/page && npm ci --silent && npm run --silent types && npm run --silent build

docs: sync ## write the generated pages
	$(RUN) python docs/generate_api_reference.py
	$(RUN) python deploy/charts/generate.py
	$(RUN) python docs/generate_relay_settings.py
	$(RUN) python docs/generate_operator_settings.py
	$(RUN) python docs/generate_reasons.py
	$(RUN) python docs/generate_schema.py

pictures: sync ## draw the pictures of a terminal from the program's output
	PICTURES=1 $(RUN) pytest tests/integration/test_pictures.py

sync: $(if $(filter $(TOOLS)/bin/uv,$(UV)),$(TOOLS)/bin/uv)
	@$(UV) sync --locked --quiet

# A machine without uv gets one of its own, in the tree.
$(TOOLS)/bin/uv:
	@echo "no uv on this machine: putting one into $(TOOLS)/"
	@.ci/venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
