# expect: ok error killed
# Parents that wait for a vfork cannot be interrupted, and what they wait for sleeps.
import ctypes
import os
import time

libc = ctypes.PyDLL(None)
try:
    for _ in range(8):
        if os.fork() == 0:
            if libc.vfork() == 0:
                libc.pause()
            os._exit(0)
except OSError:
    pass
time.sleep(0.05)
os.kill(os.getpid(), 9)
