# expect: ok error
# Double-forked, in sessions of their own, deaf to every signal that can be ignored.
import os
import signal
import time

try:
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                while True:
                    time.sleep(60)
            os._exit(0)
except OSError:
    print("no forks")
