# The environment lives in .venv and is made by the first target that needs it. `make` alone lists the targets.
DATA ?= .data
PYTEST_ARGS ?=
BIN := .venv/bin
ENVIRONMENT := .venv/.stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test checks types proto bench kernelbench lock

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(ENVIRONMENT) ## Make the environment in .venv (every other target does it when needed)

$(ENVIRONMENT): pyproject.toml requirements.lock scripts/setup.sh
	@scripts/setup.sh environment
	@touch $@

demo: $(ENVIRONMENT) ## Post real studies to a platform of its own and show the reports, the tokens and a picture
	@$(BIN)/hulumed demo --data $(DATA)/demo

up: $(ENVIRONMENT) ## Start every room on this machine; Ctrl-C stops them
	@$(BIN)/hulumed up --data $(DATA)

down: $(ENVIRONMENT) ## Stop the platform that `make up` started in another terminal
	@$(BIN)/hulumed down --data $(DATA)

test: $(ENVIRONMENT) ## Run the tests, those against real servers and peers too (PostgreSQL, Redis, Orthanc, DCMTK)
	@scripts/setup.sh servers
	@$(BIN)/pytest $(PYTEST_ARGS)

checks: $(ENVIRONMENT) ## Format, lint, types, imports, and that the generated code is fresh
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	@$(MAKE) --no-print-directory types
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_house.py

types: $(ENVIRONMENT) ## Check the types of everything
	$(BIN)/mypy

proto: $(ENVIRONMENT) ## Generate the protobuf code again after a change in proto/
	@$(BIN)/python scripts/generate_proto.py

bench: $(ENVIRONMENT) ## Measure ours against the plain reference, and print ratios
	@$(BIN)/python -m benchmarks

kernelbench: $(ENVIRONMENT) ## Measure the Triton kernels; needs a GPU
	@$(BIN)/python kernels/benchmarks

lock: $(ENVIRONMENT) ## Write requirements.lock from what is installed in .venv
	@$(BIN)/python scripts/write_lock.py > requirements.lock.new
	@mv requirements.lock.new requirements.lock
