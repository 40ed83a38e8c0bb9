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
# Tests wait for their clusters half of the time; those that take long come first.
IN_TWO := --numprocesses=2 --dist=loadscope --no-loadscope-reorder

.PHONY: help demo test acceptance bench-operator bench-relay e2e lint format docs page pictures sync

help: ## list what can be typed
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: sync ## a relay made by the operator, on a real cluster (ONCE=1: check and leave; CONTEXT=name: on your cluster)
	@$(RUN) tokenplace-cluster demo $(if $(ONCE),--once) $(if $(CONTEXT),--context $(CONTEXT))

test: sync ## every test, on real parts (PYTEST_ARGS="tests/unit" for some of them)
	@$(RUN) tokenplace-cluster build
	$(RUN) pytest $(or $(PYTEST_ARGS),$(IN_TWO))

acceptance: sync ## the list of what was asked for, on real parts; writes docs/acceptance.md (root)
	@$(RUN) tokenplace-cluster build
	TOKENPLACE_ACCEPTANCE_PAGE=docs/acceptance.md $(RUN) pytest tests/acceptance $(PYTEST_ARGS)

e2e: sync ## the tests of a relay in real pods, on your cluster (CONTEXT=name RELAY_IMAGE=... OPERATOR_IMAGE=...)
	TOKENPLACE_TEST_CONTEXT=$(CONTEXT) $(RUN) pytest tests/e2e/test_relay_pods.py

bench-operator: sync ## the operator beside its rivals, at 1, 100 and 1,000 relays (BENCH_ARGS="--counts 100")
	@$(RUN) tokenplace-cluster build
	@# As in the image: compiled, and what only development needs would count as memory.
	@$(BENCH_ENV) UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(TOOLS)/operator $(UV) sync --locked --quiet --no-dev \
	  --no-editable --compile-bytecode --package tokenplace-operator --reinstall-package tokenplace-operator
	$(BENCH_ENV) $(RUN) tokenplace-bench operator --python $(CURDIR)/$(TOOLS)/operator/bin/python $(BENCH_ARGS)

bench-relay: sync ## the relay beside bare aiohttp (BENCH_ARGS="--url http://... --output FILE")
	@# As in the image: what only development needs would count as memory.
	@$(BENCH_ENV) UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(TOOLS)/relay $(UV) sync --locked --quiet --no-dev \
	  --package tokenplace-relay
	$(BENCH_ENV) $(RUN) python -m tokenplace_harness.bench --program $(CURDIR)/$(TOOLS)/relay/bin/tokenplace-relay $(BENCH_ARGS)

lint: sync ## style, types, import layers, workflows and Dockerfiles
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports --no-logo
	$(RUN) hadolint Dockerfile.relay Dockerfile.operator
	$(RUN) zizmor --offline --quiet --persona=pedantic .github
	"$$($(RUN) tokenplace-cluster program actionlint)"
	@git ls-files -s | awk '$$1 == 120000 {print "a link in the tree: " $$4; bad = 1} END {exit bad}'

format: sync ## put the style right
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

page: ## build the chat page anew from relay/page (needs Node 20 or newer)
	@cd relay/page && npm ci --silent && npm run --silent types && npm run --silent build

docs: sync ## write the generated pages anew
	$(RUN) python docs/generate_api_reference.py
	$(RUN) python deploy/charts/generate.py
	$(RUN) python docs/generate_relay_settings.py
	$(RUN) python docs/generate_reasons.py
	$(RUN) python docs/generate_schema.py

pictures: sync ## draw the pictures of a terminal anew, from what the program prints
	PICTURES=1 $(RUN) pytest tests/integration/test_pictures.py

sync: $(if $(filter $(TOOLS)/bin/uv,$(UV)),$(TOOLS)/bin/uv)
	@$(UV) sync --locked --quiet

# A machine without uv gets one of its own, in the tree.
$(TOOLS)/bin/uv:
	@echo "no uv on this machine: putting one into $(TOOLS)/"
	@.ci/venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
