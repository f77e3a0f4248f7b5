# expect: ok error killed timeout
import os
import signal

for target in (1, os.getppid(), 0, -1):
    for number in (signal.SIGSTOP, signal.SIGKILL):
        if target == 0 and number == signal.SIGSTOP:
            continue  # that would only stop itself
        try:
            os.kill(target, number)
        except OSError:
            pass
