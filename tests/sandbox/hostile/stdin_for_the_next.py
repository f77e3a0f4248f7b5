# expect: ok error
# then: import sys; print(repr(sys.stdin.read()))
# Writes to what it should read, closes it, and puts something else in its place.
import os

for attempt in (
    lambda: os.write(0, b"LEFT BEHIND"),
    lambda: os.ftruncate(0, 0),
    lambda: os.fchmod(0, 0o777),
    lambda: os.lseek(0, 1000, 0),
    lambda: os.write(os.open("/proc/self/fd/0", os.O_RDWR), b"LEFT BEHIND"),
    lambda: os.dup2(os.open("left", os.O_RDWR | os.O_CREAT), 0),
    lambda: os.write(0, b"LEFT BEHIND"),
    lambda: os.close(0),
):
    try:
        attempt()
    except OSError:
        pass
