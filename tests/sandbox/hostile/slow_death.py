# mode: session
# expect: ok error killed timeout
# Breaks its line while its death takes long: many descriptors, many processes, many locks.
import fcntl
import os
import struct

with open("file", "w") as file:
    for at in range(0, 8000, 2):
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, at, 1, 0))
    copies = []
    try:
        while len(copies) < 200:
            copies.append(os.dup(file.fileno()))
        for _ in range(24):
            if os.fork() == 0:
                while True:
                    pass
    except OSError:
        pass
    os.write(6, bytes([255] * 100))
    while True:
        pass
