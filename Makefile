# `make app` on a fresh machine makes its own environment, installs and serves the page.
# An environment whose stamp fits requirements.txt is used as it is, without a look at the network.

PYTHON ?= python3
BIN := .venv/bin
APP := .venv/.app-$(shell cksum < requirements.txt | tr -d ' ')
TESTS := .venv/.tests-$(shell cat requirements.txt requirements-optional.txt requirements-test.txt | cksum | tr -d ' ')

# Threads that spin while they wait collapse on a busy machine.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

# Data and weights beside the checkout, where there are any and the user has named no others.
ifneq ($(wildcard ../shared),)
RETRIEVAL_DATA ?= $(abspath ../shared/data/medmnist)
RETRIEVAL_WEIGHTS ?= $(abspath ../shared/weights)
export RETRIEVAL_DATA RETRIEVAL_WEIGHTS
endif

.DEFAULT_GOAL := help
.PHONY: help app test check bench reproduce gpu missing

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

app: $(APP) ## serve the page
	$(BIN)/python app.py

test: $(TESTS) missing ## run every test but those of `make reproduce` and `make gpu`
	$(BIN)/python -m pytest -m "not reproduce and not gpu"

check: $(TESTS) ## style, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

bench: $(TESTS) missing ## how fast it is, in ratios
	$(BIN)/python benchmarks/run.py

reproduce: $(TESTS) missing ## compute the study's rows anew, whole, and compare
	$(BIN)/python -m pytest -m reproduce

gpu: $(TESTS) ## run the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -m gpu

$(APP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed and $(PYTHON) is %d.%d: name one with make PYTHON=python3.12." % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

$(TESTS): $(APP)
	$(BIN)/python -m pip install -r requirements-test.txt
	$(BIN)/python -m pip install --no-deps -r requirements-optional.txt
	@touch $@

missing:
	@test -x /usr/bin/chromium || \
	  echo "Missing: /usr/bin/chromium. The tests in a real browser need it (Debian: apt-get install chromium)."
	@test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so || \
	  echo "Missing: Orthanc with DICOMweb. The tests of archives need it (Debian: apt-get install orthanc orthanc-dicomweb)."
	@test -n "$(RETRIEVAL_DATA)" || \
	  echo "Missing: RETRIEVAL_DATA. Tests on real data need a folder of MedMNIST files."
	@test -n "$(RETRIEVAL_WEIGHTS)" || \
	  echo "Missing: RETRIEVAL_WEIGHTS. Tests of the study's extractor need a folder with densenet121/."
