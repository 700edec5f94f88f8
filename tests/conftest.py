"""One thread for every process that a test starts: several busy ones beside each other starve on few cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
