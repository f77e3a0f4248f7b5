# expect: ok error
# Flags on an open pipe belong to the pipe: the next program must not inherit them.
# then: print("x" * 300000)
import fcntl
import os

for descriptor in (1, 2):
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    try:
        fcntl.fcntl(descriptor, 1031, 4096)
    except OSError:
        pass
