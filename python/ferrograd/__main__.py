"""`python -m ferrograd`: a walk through automatic differentiation, and a small classifier trained with it."""

import sys

from .demo.main import main

sys.exit(main())
