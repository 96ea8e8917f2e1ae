# Two commands: `make book` builds the site, `make test` checks everything. Each sets up .venv by itself.
# `make help` lists the others.

VENV := .venv
BIN := $(VENV)/bin
LOOK := _config.yml _toc.yml $(wildcard book/_static/* book/_ext/*.py) book/repository_links.py $(shell find book/_templates -type f)
SITE := _build/html/index.html
JOBS ?= 2# processes that test side by side, each with one thread and up to 2 GB
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS)

.PHONY: book test test-all lint unit heavy-test notebooks-test site browser notebooks drift release grade clean help
.DEFAULT_GOAL := book

book: $(VENV)/.installed _build/.look ## build the site from the stored outputs of its notebooks
	@echo "== Building the book from the stored outputs of its notebooks =="
	@$(BIN)/jupyter-book build . --warningiserror --nitpick --keep-going \
		|| { rm -rf _build/.doctrees; echo "The book was not built: see the warnings above."; exit 1; }
	@echo && echo "The book is ready. Open $(CURDIR)/$(SITE)"

test: lint unit notebooks-test site ## the gate: lint, unit tests, every notebook, the site in a browser
	@echo && echo "Everything passed: lint, unit tests, notebooks, site."

lint: $(VENV)/.installed ## style, spelling and types
	@echo "== Lint =="
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/typos && $(BIN)/python -m mypy

unit: $(VENV)/.installed ## the unit tests, but for the heavy ones
	@echo "== Unit tests =="
	@$(PYTEST) -m "not heavy" tests/unit

heavy-test: $(VENV)/.installed ## the heavy unit tests: long rehearsals that the gate leaves out
	@echo "== Heavy unit tests =="
	@$(PYTEST) -m heavy tests/unit

notebooks-test: $(VENV)/.installed ## run every notebook and compare it with its stored outputs
	@echo "== Notebooks: every cell is run and compared with its stored output =="
	@$(PYTEST) --dist loadfile --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

site: book browser ## open the built site in a browser
	@echo "== The built site in a browser =="
	@$(BIN)/python -m pytest tests/site

# A browser for the site tests: one that is installed already, or else Playwright's own, kept inside .venv.
browser: $(VENV)/.installed
	@$(BIN)/python tests/site/browser.py

notebooks: $(VENV)/.installed ## run the notebooks and store their outputs; ONLY=00_tour: that one
	@echo "== Running the notebooks and storing their outputs =="
	@$(BIN)/python book/run_notebooks.py $(ONLY)
	@$(BIN)/python book/drift.py

drift: $(VENV)/.installed ## what changed in the stored outputs; SINCE=REVISION: since then (default: the last commit)
	@$(BIN)/python book/drift.py $(SINCE)

# A course, outside of the repository: its teacher's file, what students get, what they hand in, and their grades.
COURSE ?= ../course
release: $(VENV)/.installed ## assignments of a term: write what students get into COURSE/release
	@test -e $(COURSE)/teacher.toml || $(BIN)/python -m assignments new-term $(COURSE)/teacher.toml
	@$(BIN)/python -m assignments release $(COURSE)/release --teacher $(COURSE)/teacher.toml

grade: $(VENV)/.installed ## assignments of a term: grade COURSE/submissions into COURSE/grades
	@$(BIN)/python -m assignments grade $(COURSE)/submissions --teacher $(COURSE)/teacher.toml --out $(COURSE)/grades

# Lanes: the same with other versions of what the book stands on. Each needs the Python that it names.
LANES := colab-test lowest-test sphinx-test nnunet-test open-clip-test newest-test
.PHONY: $(LANES)
colab-test: ## lane: Colab's versions (Python 3.13); published notebooks as in Colab, unit tests, stored outputs
lowest-test: ## lane: the lowest versions that requirements.txt allows (Python 3.10)
sphinx-test: ## lane: the site by plain, newest Sphinx, in a browser (Python 3.13)
nnunet-test: ## lane: the newest nnU-Net (Python 3.12)
open-clip-test: ## lane: the newest open_clip, timm and transformers (Python 3.12)
newest-test: ## lane: the newest of everything (Python 3.13)
sphinx-test: browser
$(LANES): $(VENV)/.installed
	@bash .ci/lane $(@:-test=)

test-all: test heavy-test $(LANES) ## the gate, the heavy unit tests and all lanes, an hour and a half; with -k it goes on after one that fails

# The mark .installing tells that an installation was interrupted; a half-installed environment is made anew.
# What pip had downloaded comes from pip's own cache then.
$(VENV)/.installed: requirements.txt requirements-nnunet.txt constraints.txt pyproject.toml
	@if [ -e $(VENV)/.installing ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		python=$$(sh .ci/find-python) || exit 1; \
		echo "== Setting up $(VENV) with $$python (a few minutes, once) =="; \
		$$python -m venv --clear $(VENV) || exit 1; \
	fi
	@touch $(VENV)/.installing
	@$(BIN)/python -m pip install --quiet 'pip>=25.1' # the first that knows dependency groups
	@$(BIN)/python -m pip install --constraint constraints.txt --editable '.[nnunet]' --group dev
	@rm $(VENV)/.installing && touch $@

# Sphinx writes a page again when its text changes, not when the look of all pages or the list of them does.
_build/.look: $(LOOK)
	@rm -rf _build/html && mkdir -p _build && touch $@

clean: ## remove what was built
	rm -rf _build

help: ## this list
	@sed -n -E 's/^([a-z-]+):.*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-15s %s\n' "$$name" "$$what"; done
