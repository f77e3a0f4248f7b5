# mode: grade
# expect: fail
import os
import struct


def add(a, b):
    while True:
        os.write(6, struct.pack("=I", 1 << 30) + b"x" * 65536)
