# make run: set up and run the main job.   make test: set up and run the tests.   make ui: look at every run in MLflow.
PYTHON ?= python3
BIN := .venv/bin
# Options for the tests, such as `make test PYTEST=--cov`, which measures the coverage and holds a floor.
PYTEST ?=
# Threads that spin while they wait starve each other on busy cores: encoding fell from 114 to 47 frames a second.
export OMP_WAIT_POLICY ?= PASSIVE
export TQDM_MININTERVAL ?= 2
# Each stage imports torch and mlflow: without kept bytecode half of its start is spent on compiling them again.
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup run test lint fast slow ui clean

setup: $(BIN)/.complete

$(BIN)/.complete: requirements.txt requirements-uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Framescribe needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# The last stages of labelling and captioning: without their names, DVC would make data sets that they do not need.
run: setup
	dvc repro evaluate_labeller label_samples evaluate_captioner
	@python -m pipeline.cli.summary

test: lint fast

lint: setup
	ruff check .
	ruff format --check .
	mypy

# Files of tests run in parallel, each with one thread of torch: more threads would wait for each other.
fast: setup
	OMP_NUM_THREADS=1 pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST)

# Files in the order of their names: by the number of their tests, those with the longest tests would come last.
slow: setup
	OMP_NUM_THREADS=1 pytest -m slow -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Without the other workers and MLflow's jobs, the pages open in a third of the time.
ui: setup
	@echo "every run: http://127.0.0.1:5000/#/experiments/1/runs (from some seconds on)"
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db"

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
