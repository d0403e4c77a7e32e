# Everything runs in .venv, which the first target builds from pyproject.toml and constraints.txt.
# TORCH_INDEX: optional address of PyTorch's index of CPU (or other) builds.
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
ENV := .venv/.complete
PIP_FLAGS := --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

export HF_HUB_OFFLINE ?= 1
export WANDB_MODE ?= offline

.PHONY: env train reproduce ablations test test-slow test-all lint types docs audit check clean

env: $(ENV)

$(ENV): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or later is needed, this is %d.%d: set PYTHON=..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Building .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

train: env
	$(BIN)/python train.py variant=T

# From photos to a report with every table and figure: SCALE=tiny (minutes on a CPU), or WITH='shards=PATH photos=PATH'.
SCALE ?= full
WITH ?=
reproduce: env
	@case $(SCALE) in tiny|full) ;; *) echo "error: There is no SCALE=$(SCALE): choose tiny or full." >&2; exit 1;; esac
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash runs/$(SCALE).sh $(WITH)

# One change at a time to the training of ours-T, BUDGET steps each.
BUDGET ?= 600
ablations: env
	@$(BIN)/python -c "from dequant import errors, provenance; errors.one_sentence()(provenance.check_clean)('results/ablations.csv', False)"
	$(BIN)/python train.py -m hparams_search=ablations trainer.max_steps=$(BUDGET)
	$(BIN)/python -m sweeps.summary outputs/sweep/ablations --results results/ablations.csv

test: env
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

test-slow: env
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

test-all: env
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: env
	$(BIN)/mypy

# The documentation as a site, in outputs/site.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Licences, a bill of materials, and known vulnerabilities of all that is installed, in outputs/audit.
audit: env
	@mkdir -p outputs/audit
	@test -x outputs/audit/env/bin/pip-audit || { $(PYTHON) -m venv outputs/audit/env && outputs/audit/env/bin/pip install --quiet pip-audit pip-licenses cyclonedx-bom; }
	outputs/audit/env/bin/pip-licenses --python $(BIN)/python --format=markdown --output-file outputs/audit/licences.md
	outputs/audit/env/bin/cyclonedx-py environment $(BIN)/python --output-file outputs/audit/sbom.json
	outputs/audit/env/bin/pip-audit --path $(wildcard .venv/lib/python3*/site-packages)

check: lint types test-all

clean:
	rm -rf .venv outputs
