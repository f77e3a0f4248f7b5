# expect: ok error killed
# As many timers as there may be, and then signals that nobody takes.
import ctypes
import os
import signal
import struct

libc, timer, made = ctypes.CDLL(None), ctypes.c_void_p(), 0
event = ctypes.create_string_buffer(struct.pack("Qii", 0, signal.SIGRTMIN + 1, 0), 64)
while made < 5000 and libc.timer_create(1, event, ctypes.byref(timer)) == 0:
    made += 1
if made > 1000:
    print("PWNED: timers", made)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
for _ in range(5000):
    try:
        os.kill(os.getpid(), signal.SIGRTMIN)
    except OSError:
        break
