# Two commands set themselves up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing aigc and its dependencies into $(VENV) (about 6 GB with CUDA; minutes)"
	@$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

demo: setup
	@$(BIN)/aigc demo

test: setup
	@$(BIN)/python -m pytest -q

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

# litgpt asks for an older huggingface-hub than diffusers does; its network alone does not use it.
bench: setup
	@$(BIN)/python -m pip install --quiet --editable ".[bench]"
	@$(BIN)/python -m pip install --quiet --no-deps "litgpt>=0.5.13,<0.6"
	@$(BIN)/aigc bench all --out experiments/benchmarks/results

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache
