# expect: ok error killed memory
import fcntl
import os

held = 0
try:
    while held < 4096:
        _, end = os.pipe()
        fcntl.fcntl(end, 1031, 1 << 20)
        held += 1
except OSError:
    pass
if held > 300:
    print("PWNED: pipes", held)
