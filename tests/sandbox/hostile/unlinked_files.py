# expect: ok error killed timeout
import os

written = 0
try:
    for _ in range(64):
        descriptor = os.open("hidden", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.unlink("hidden")
        for _ in range(30):
            written += os.write(descriptor, b"x" * (1 << 20))
except OSError:
    pass
if written > 1100 << 20:
    print("PWNED: disk", written)
