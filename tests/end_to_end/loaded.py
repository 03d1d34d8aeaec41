"""What workers of tests have in common, loaded once: each of them is a fork of a process that has imported this.

Importing and loading compiled loops costs some four seconds of CPU a worker, of which a test learns nothing; the
command itself is started by test_listeners.py.
"""

from processors.conversation.fold import load_conversation_kernels
from processors.engagement.warmup import load_engagement_kernels
from tests.end_to_end import runner

load_engagement_kernels()
load_conversation_kernels()

main = runner.main
