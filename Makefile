# `make serve` and `make test` need only Python 3.11, make and, for what is missing, a Debian apt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
APT_PACKAGES := espeak-ng libespeak-ng1 flite chromium libegl1 libgl1 libfontconfig1
# OpenMP threads that spin would take the cores from the event loop and from other sessions.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: serve demo test lint bench gpu-check setup clean

setup: $(READY)

$(READY): pyproject.toml packages/avatar_client/pyproject.toml
	@sh training/debian_packages.sh $(APT_PACKAGES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e packages/avatar_client -e '.[dev]'
	touch $@

serve: $(READY)
	$(BIN)/avatar serve

demo: $(READY)
	$(BIN)/python -m client_demo.demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m server.reference --check

test: lint
	$(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python -m benchmarks all

gpu-check: $(READY)
	$(BIN)/python -m benchmarks gpu

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
