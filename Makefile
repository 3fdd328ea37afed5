# The two commands of the README. Each makes what it needs in .venv.
PYTHON ?= python3
# Installed before anything else, so that nothing later brings another build of torch.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: eval test lint types

eval: .venv/demo
	$(BIN)/promptkit eval sentiment --model demo --shots 8 --calibrate contextual,batch

test: .venv/dev lint types
	$(BIN)/pytest --durations=10

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

.venv/demo: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

.venv/dev: .venv/demo
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	touch $@
