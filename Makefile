VENV := .venv
PYTHON := $(VENV)/bin/python

$(VENV)/bin/maturin:
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet "maturin>=1.8,<2"
