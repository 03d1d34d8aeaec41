"""What workers of tests have in common, loaded once: each of them is a fork of a process that has imported this.

Importing and loading compiled loops costs some four seconds of CPU a worker, of which a test learns nothing; the real
command is started by tests/test_faust_command.py and the demo.
"""

from processors.conversation.fold import compile_loops as compile_loops_of_conversations
from processors.engagement.warmup import compile_loops
from tests.end_to_end import runner

compile_loops()
compile_loops_of_conversations()

main = runner.main
