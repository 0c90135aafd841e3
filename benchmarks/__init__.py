"""Benchmarks of hmmtheory; ``python -m benchmarks`` runs them."""

import os

# Before NumPy loads BLAS: one core for everyone.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
