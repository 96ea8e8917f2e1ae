"""What holds for all unit tests: one thread, in this process and in those that a test starts.

Sums have one order then, small products do not wait for each other's threads, and as many tests as there are cores can
run side by side. It has to be said before torch is imported.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
