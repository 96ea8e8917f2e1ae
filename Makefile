# Two commands: `make book` builds the site, `make test` checks everything. Each sets up .venv by itself.
# Others: `make notebooks` runs the notebooks in place and stores their outputs (`make notebooks ONLY=00_tour`: that one);
# `make clean` removes what was built.

VENV := .venv
BIN := $(VENV)/bin
LOOK := _config.yml _toc.yml $(wildcard book/_static/* book/_ext/*.py) $(shell find book/_templates -type f)
SITE := _build/html/index.html

.PHONY: book test lint unit notebooks-test site browser notebooks clean
.DEFAULT_GOAL := book

book: $(VENV)/.installed _build/.look
	@echo "== Building the book from the stored outputs of its notebooks =="
	@$(BIN)/jupyter-book build . --warningiserror --nitpick --keep-going \
		|| { rm -rf _build/.doctrees; echo "The book was not built: see the warnings above."; exit 1; }
	@echo && echo "The book is ready. Open $(CURDIR)/$(SITE)"

test: lint unit notebooks-test site
	@echo && echo "Everything passed: lint, unit tests, notebooks, site."

lint: $(VENV)/.installed
	@echo "== Lint =="
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

unit: $(VENV)/.installed
	@echo "== Unit tests =="
	@$(BIN)/python -m pytest tests/unit

notebooks-test: $(VENV)/.installed
	@echo "== Notebooks: every cell is run and compared with its stored output =="
	@$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

site: book browser
	@echo "== The built site in a browser =="
	@$(BIN)/python -m pytest tests/site

# A browser for the site tests: one that is installed already, or else Playwright's own, kept inside .venv.
browser: $(VENV)/.installed
	@$(BIN)/python tests/site/browser.py

notebooks: $(VENV)/.installed
	@echo "== Running the notebooks and storing their outputs =="
	@$(BIN)/python book/run_notebooks.py $(ONLY)

# The mark .installing tells that an installation was interrupted; a half-installed environment is made anew.
# What pip had downloaded comes from pip's own cache then.
$(VENV)/.installed: requirements.txt requirements-dev.txt requirements-nnunet.txt constraints.txt pyproject.toml
	@if [ -e $(VENV)/.installing ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		python=$$(sh .ci/find-python) || exit 1; \
		echo "== Setting up $(VENV) with $$python (a few minutes, once) =="; \
		$$python -m venv --clear $(VENV) || exit 1; \
	fi
	@touch $(VENV)/.installing
	@$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@rm $(VENV)/.installing && touch $@

# Sphinx writes a page again when its text changes, not when the look of all pages or the list of them does.
_build/.look: $(LOOK)
	@rm -rf _build/html && mkdir -p _build && touch $@

clean:
	rm -rf _build
