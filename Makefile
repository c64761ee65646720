# make run   creates .venv, installs rnnzoo, trains, compares, saves and serves on the copying task
# make test  installs what the tests need and runs them (slow ones: make test-slow)
# make test-keras KERAS=3.15.0 TENSORFLOW=2.20.0   runs them with these versions, in an environment
#   of their own; KERAS_SOURCE=FOLDER instead: with a checkout of Keras before the installed one;
#   PYTEST="tests/layers -k mask" narrows what is run
# make test-keras-suite KERAS_SOURCE=FOLDER   runs Keras's own tests with our layers in them, from a
#   checkout of Keras at the installed version
# make bench installs the peers too and measures against them (about 25 minutes; see benchmarks/README.md)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: run test test-slow test-keras test-keras-suite bench lint clean

run: $(VENV)/.installed
	$(BIN)/rnnzoo demo --out runs/demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -m slow

TRIED = .venv-keras-$(KERAS)-tensorflow-$(TENSORFLOW)
TESTS = -m pytest -n 2 --dist loadfile -q $(PYTEST)
VERSIONS = -c 'import keras, tensorflow as tf; print("Keras", keras.__version__, "of", \
	keras.__path__[0], "with TensorFlow", tf.__version__)'

ifdef KERAS_SOURCE
test-keras: export PYTHONPATH = $(abspath $(KERAS_SOURCE))
test-keras: $(VENV)/.installed-test
	@test -d $(KERAS_SOURCE)/keras/src || { echo "no checkout of Keras: $(KERAS_SOURCE)"; exit 1; }
	$(BIN)/python $(VERSIONS)
	$(BIN)/python $(TESTS)
else ifneq ($(and $(KERAS),$(TENSORFLOW)),)
test-keras: $(TRIED)/.installed-test
	$(TRIED)/bin/python $(VERSIONS)
	$(TRIED)/bin/python $(TESTS)
else
test-keras:
	@echo "usage: make test-keras KERAS=3.15.0 TENSORFLOW=2.20.0, or KERAS_SOURCE=FOLDER"; exit 1
endif

$(TRIED)/.installed-test: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(TRIED)
	$(TRIED)/bin/python -m pip install -q -e '.[test]' keras==$(KERAS) tensorflow==$(TENSORFLOW) \
		$(if $(filter 2.20%,$(TENSORFLOW)),'protobuf<6') # the last that its serving messages take
	@touch $@

test-keras-suite: $(VENV)/.installed-test
	@test -n "$(KERAS_SOURCE)" || { echo "usage: make $@ KERAS_SOURCE=FOLDER"; exit 1; }
	$(BIN)/python tests/keras_suite $(KERAS_SOURCE) $(PYTEST)

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks all $(BENCH)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "rnnzoo needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[test,dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

clean:
	rm -rf $(VENV) .venv-keras-* build dist *.egg-info runs .pytest_cache .ruff_cache .hypothesis .coverage
