# mode: grade
# expect: fail
# Finds the question in the caller's frame and answers it itself, twice, then dies.
import json
import os
import struct
import sys


def add(a, b):
    frame = sys._getframe(1)
    while frame:
        nonce = frame.f_locals.get("nonce")
        if isinstance(nonce, str):
            for _ in range(2):
                body = json.dumps([nonce, "ok", 5, None]).encode()
                for descriptor in range(3, 16):
                    try:
                        os.write(descriptor, struct.pack("=I", len(body)) + body)
                    except OSError:
                        pass
        frame = frame.f_back
    os._exit(0)
