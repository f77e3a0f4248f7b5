# expect: ok error killed memory timeout
import os

blocks = []
try:
    os.fork()
    os.fork()
except OSError:
    pass
try:
    while len(blocks) < 64:
        blocks.append(bytearray(b"x" * (8 << 20)))
    print("PWNED: memory", len(blocks))
except MemoryError:
    blocks.clear()
