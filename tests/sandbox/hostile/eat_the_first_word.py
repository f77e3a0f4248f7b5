# expect: ok error
# Takes back what the harness has said of it, and is gone.
import os

for descriptor in range(3, 16):
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK)
        os.read(own, 4096)
    except OSError:
        pass
    try:
        os.set_blocking(descriptor, False)
        os.read(descriptor, 4096)
    except OSError:
        pass
os._exit(0)
