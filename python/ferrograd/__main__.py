"""`python -m ferrograd`: a walk through automatic differentiation, and a small classifier trained with it."""

import os
import sys

from .demo.main import main

try:
    status = main()
    sys.stdout.flush()
except BrokenPipeError:
    # The reader has gone (`| head`). What is left to flush at exit must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 1
except KeyboardInterrupt:
    status = 130
sys.exit(status)
