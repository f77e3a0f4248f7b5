# expect: ok error timeout killed
# then: print("honest")
# Reads its own streams in a process that stays, to take what the next one writes.
import os
import time

try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ends = []
            for descriptor in (1, 2, 5):
                try:
                    ends.append(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK))
                except OSError:
                    pass
            end = time.monotonic() + 20
            while time.monotonic() < end:
                for descriptor in ends:
                    try:
                        os.read(descriptor, 65536)
                    except OSError:
                        pass
                time.sleep(0.001)
        os._exit(0)
    os.wait()
except OSError:
    pass
