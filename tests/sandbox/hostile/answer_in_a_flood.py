# mode: session
# expect: ok error output killed timeout
# Floods, answers its own step and ends, so that what stops the flood comes too late.
import os
import struct
import sys

os.write(1, b"x" * 60000)
frame = sys._getframe()
nonce = None
while frame and nonce is None:
    nonce = frame.f_locals.get("nonce")
    frame = frame.f_back
for _ in range(12):
    os.write(1, b"x" * 65536)
body = struct.pack("=16siqii", nonce or bytes(16), 0, 0, -1, -1)
os.write(6, struct.pack("=I", len(body)) + body)
os._exit(0)
