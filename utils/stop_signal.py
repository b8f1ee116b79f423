"""SIGINT and SIGTERM ask a run to stop, so that it can save first."""

import os
import signal
import time

# Ctrl-C reaches every process of a terminal, and torchrun then passes it on: within this time it is the same request.
SAME_REQUEST_S = 1.0


class StopSignal:
    """From now on a signal sets ``asked``; another one more than a second later stops the process at once."""

    def __init__(self):
        self.asked = False
        self._first = 0.0
        self._process = os.getpid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:  # a loader worker, which has inherited the handler
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if not self.asked:
            self.asked, self._first = True, time.monotonic()
        elif time.monotonic() - self._first > SAME_REQUEST_S:
            raise KeyboardInterrupt
