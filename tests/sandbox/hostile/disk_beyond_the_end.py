# expect: ok error killed
# Space beyond the end of a file is no part of its size, and open files need no name.
import ctypes
import os

MEGABYTES = 600
libc = ctypes.CDLL(None, use_errno=True)
descriptor = os.open("file", os.O_RDWR | os.O_CREAT)
os.unlink("file")
for mode in (1, 1 | 16):
    if libc.fallocate(descriptor, mode, ctypes.c_long(0), ctypes.c_long(MEGABYTES << 20)) == 0:
        if os.fstat(descriptor).st_blocks * 512 >= MEGABYTES << 20:
            print("PWNED: disk", MEGABYTES)
