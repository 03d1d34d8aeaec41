"""What workers of tests have in common, loaded once: each of them is a fork of a process that has imported this.

Importing and loading compiled loops costs some four seconds of CPU a worker, of which a test learns nothing; the
command itself is started by test_listeners.py.
"""

from processors.conversation.fold import compile_loops as compile_loops_of_conversations
from processors.engagement.warmup import compile_loops
from tests.end_to_end import runner

compile_loops()
compile_loops_of_conversations()

main = runner.main
