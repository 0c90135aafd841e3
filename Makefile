# Two commands matter: `make book` builds the book, `make test` checks everything.
# Both need only Python 3.11 or later, make and git; the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SITE := _build/html
NOTEBOOKS ?= $(wildcard chapters/*.ipynb)
# Whole notebooks and whole test modules go to one worker each.
PYTEST_ARGS ?= -n auto --maxprocesses=4 --dist=loadscope

export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Processes run side by side; BLAS threads on top would only fight for the same cores.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
# Nothing is left outside this folder, and no home is needed.
export XDG_CACHE_HOME := $(CURDIR)/$(VENV)/cache
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/cache/matplotlib
export IPYTHONDIR := $(CURDIR)/$(VENV)/cache/ipython
export JUPYTER_CONFIG_DIR := $(CURDIR)/$(VENV)/cache/jupyter
export JUPYTER_DATA_DIR := $(CURDIR)/$(VENV)/cache/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CURDIR)/$(VENV)/cache/jupyter/runtime
export DASK_TEMPORARY_DIRECTORY := $(CURDIR)/$(VENV)/cache/dask
# An environment activated in the caller's shell must not mislead uv or Sphinx.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# Without compiled modules every kernel compiles what it imports anew: seconds for each notebook.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/cache/modules

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env install book pdf test portable last-digits fuzz mutants edit dist browser lint format notebooks pretrain pretrain-transformers llm-features larger-study bench lock clean distclean

help: ## show the targets
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-21s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

book: install ## execute every notebook once, side by side, and build the book into _build/html
	$(BIN)/python tools/build_book.py $(BOOK_ARGS)

pdf: install ## print the book to one PDF (needs Chromium), linked from its front page
	test -f $(SITE)/index.html || $(MAKE) book
	$(BIN)/python tools/pdf.py $(SITE)

test: lint ## lint, then unit tests, doctests and a strict re-run of every notebook
	$(BIN)/python -m pytest $(PYTEST_ARGS)

portable: install ## notebooks and numeric tests under every BLAS kernel, without SIMD, with lowest versions
	$(BIN)/python tools/portable.py --lowest --record

last-digits: install ## list what in notebooks and tests hangs on the last digit of a float
	$(BIN)/python tools/last_digits.py

fuzz: install ## call every public function with 60,000 hostile inputs (minutes)
	MPLBACKEND=agg $(BIN)/python tools/fuzz.py --count 60000 --json tools/fuzz.json

mutants: install ## change the package in 240 small ways and list what no test notices (half an hour; resumes)
	$(BIN)/python tools/mutants.py --json tools/mutants.json

browser: install ## open every built page in Chromium: after make book
	HMMTHEORY_REQUIRE_BROWSER=1 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/test_browser.py tests/test_explorer.py

lint: install ## ruff (modules and notebooks) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

format: install ## let ruff fix and format modules and notebooks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

edit: install ## open a chapter as text and put it back, ids and outputs kept: make edit CH=05
	$(BIN)/python tools/edit.py $(CH)

dist: install ## build sdist and wheel, and try the wheel in empty environments
	$(BIN)/python tools/dist.py

notebooks: install ## re-execute notebooks in place, normalised (NOTEBOOKS="chapters/01_….ipynb" for one)
	$(BIN)/python tools/notebooks.py $(NOTEBOOKS)

pretrain: install ## train the Shakespeare models of chapter 11 again (an hour of one core; resumes)
	cd chapters && ../$(BIN)/python -m book.shakespeare

pretrain-transformers: install ## train the small transformers again (PyTorch; minutes on a GPU, a day of one core; resumes)
	cd chapters && ../$(BIN)/python -m book.pretrain_transformers

ARCHIVE ?= vaderSentiment-3.3.2.tar.gz
llm-features: install ## compute the features of chapter 12 again (minutes; packages: see smollm2.py)
	cd chapters && ../$(BIN)/python -m book.smollm2 $(abspath $(ARCHIVE))
	cd chapters && ../$(BIN)/python -m book.text_states $(abspath $(ARCHIVE))

larger-study: install ## run the study of chapter 16 again (over an hour of one core; resumes)
	cd chapters && ../$(BIN)/python -m book.larger_study

lock: env ## resolve pyproject.toml into requirements.txt (UPGRADE=1 takes newer versions)
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-header --no-emit-index-url --no-emit-find-links --quiet \
		$(if $(UPGRADE),--upgrade) -o requirements.txt

bench: install ## time the simulator side by side with the loops one would write instead
	$(BIN)/python -m benchmarks --json benchmarks/results.json

clean: ## remove what was built
	rm -rf _build build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -path ./$(VENV) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-type d -print0 | xargs -0 rm -rf

distclean: clean ## remove the virtual environment as well
	rm -rf $(VENV)

# What is installed is remembered by content; an interrupted installation is repaired.
env: ## create .venv with the locked environment
	@$(PYTHON) tools/install.py --only-packages

install: ## the same, with hmmtheory itself
	@$(PYTHON) tools/install.py
