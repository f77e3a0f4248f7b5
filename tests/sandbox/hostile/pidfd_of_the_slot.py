# expect: ok error killed
import os
import signal

try:
    slot = os.pidfd_open(os.getppid())
    signal.pidfd_send_signal(slot, signal.SIGKILL)
except OSError as error:
    print(error)
