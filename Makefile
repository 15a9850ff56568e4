# Everything here is also a plain command: see the recipes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run demo test cluster engine lint bench bench-full docs lock clean setup dev

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup:
	@$(PYTHON) scripts/bootstrap.py run

dev:
	@$(PYTHON) scripts/bootstrap.py dev

run: setup       ## the service on http://127.0.0.1:8000 (settings: .env, see .env.example)
	@exec $(BIN)/parascribe serve

demo: setup      ## transcribe recordings of people with the model `base`, then stop
	@exec $(BIN)/parascribe demo

test: dev        ## all tests, against real servers that are started here (ARGS= for pytest)
	@exec $(BIN)/python -m scripts.test $(ARGS)

cluster: dev     ## PostgreSQL, Valkey, MinIO, one api, two consumers on this machine
	@exec $(BIN)/python -m scripts.cluster $(ARGS)

engine: setup    ## build the fast engine for this CPU (about 3 minutes, no compiler needed)
	@exec $(BIN)/parascribe engine build

lint: dev        ## ruff, mypy, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: dev       ## all benchmarks, more than an hour on 2 cores (ARGS= names, --rounds N)
	@exec $(BIN)/python -m benchmarks $(ARGS)

bench-full: dev  ## the same at the lengths and sizes the goals name (hours)
	@exec $(BIN)/python -m benchmarks --full $(ARGS)

docs: dev        ## make the generated reference pages anew
	@$(BIN)/python -m scripts.docs

lock:            ## resolve the lock files anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra build pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -c requirements.lock --extra build --extra test --extra lint pyproject.toml -o requirements-dev.lock

clean:           ## remove .venv and caches (your data folder stays)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
