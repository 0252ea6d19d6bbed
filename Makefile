# Everything happens in .venv; only Python 3.11+ with venv and a network to the package registry are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# images of containers often set it; the processes that tests start would compile all modules anew
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready

.PHONY: demo quick test test-all check docs lock clean

demo: $(READY)
	$(BIN)/sweeps demo digits
	$(BIN)/sweeps run search_spaces/digits.yaml
	$(BIN)/sweeps best --topk 5
	$(BIN)/sweeps predict --source data/digits/test --template data/digits/sample_submission.csv --out submission.csv
	$(BIN)/sweeps score --predictions submission.csv --truth data/digits/answers.csv

TESTS := pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# unit tests without processes or servers
quick: $(READY)
	$(BIN)/python -m $(TESTS) --quick

test: $(READY)
	$(BIN)/python -m $(TESTS)

# property tests in their long form, long tables and chaos, too; with coverage, which doubles the
# time of a test in Python 3.11
test-all: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(TESTS) --slow
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m trainer.parameters > docs/parameters.md
	$(BIN)/python -m trainer.data_page docs/data.md
	$(BIN)/sweeps schema --out search_spaces/.foldsweep.schema.json

# exact versions for every platform; no addresses in the file
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade --quiet \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
