"""What workers of tests have in common, loaded once: each of them is a fork of a process that has imported this.

Importing and loading compiled loops costs some four seconds of CPU a worker, of which a test learns nothing; the
command itself is started by test_listeners.py.
"""

from processors.compile_kernels import load_all_kernels
from tests.end_to_end import runner

load_all_kernels()

main = runner.main
