# Every habit of the project; `make` alone lists them.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
# Processes of pytest side by side, each with a stack of its own (1.5 GB), which mostly waits; 0 is none beside the first, as --pdb wants it.
JOBS ?= 3
# Another virtual environment may be active: nothing here looks at it.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
export VENV

.DEFAULT_GOAL := help
.PHONY: help setup tools demo docs test test-unit lint format bench pictures soak clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## .venv with all extras, the jars of Kafka, compiled kernels (PYTHON=... to choose one; quick when done before)

$(READY): pyproject.toml pipeline/embedded/jars.lock scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup

tools: $(READY) ## helm and hadolint into .venv, for the tests of deploy/ (50 MB; Linux on x86-64)
	@scripts/tools

demo: $(READY) ## Set up, then everything on a real Kafka and ClickHouse, checked against a recount
	@$(BIN)/engagement demo $(ARGS)

docs: $(READY) ## The documentation as a site, in build/site; a link that leads nowhere fails it
	@$(BIN)/python docs/site/build.py $(ARGS)

test: $(READY) lint ## Set up, then lint, types and all tests on a real Kafka and ClickHouse (ARGS="-k ..." for some)
	$(BIN)/python -m processors.compile_kernels  # before tests wait for workers: a minute or two, where a kernel has changed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

test-unit: $(READY) ## Tests that need no Kafka and ClickHouse: seconds
	$(BIN)/python -m pytest -m "not stack and not slow" $(ARGS)

check-bi: $(READY) ## Superset, SQLAlchemy, pandas and dbt on a seeded database: minutes, 1.4 GB in .cache/bi (ARGS="--only superset")
	$(BIN)/python -m tests.bi $(ARGS)

lint: $(READY) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## The numbers that are promised, on this machine; `make soak` takes half an hour more
	@stop='$(BIN)/engagement stack down --dir .engagement/bench'; trap "$$stop" EXIT; trap 'exit 130' INT TERM; \
	settings=$$($(BIN)/engagement stack up --dir .engagement/bench) && eval "$$settings" && \
	for file in $(filter-out benchmarks/soak.py benchmarks/forecast_%.py,$(wildcard benchmarks/[a-z]*.py)); do echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; done

pictures: $(READY) ## The pictures of the live page in docs, from a seeded run in Chromium
	@$(BIN)/python docs/screenshots.py $(ARGS)

soak: $(READY) ## Whether a worker's memory stays flat: half an hour (ARGS="--minutes 12" for less)
	@$(BIN)/python benchmarks/soak.py $(ARGS)

clean: ## Stop the default stack; remove .venv, caches and the stack's data
	@if [ -x $(BIN)/engagement ] && [ -d .engagement/stack ]; then $(BIN)/engagement stack down; fi
	rm -rf $(VENV) .engagement .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
