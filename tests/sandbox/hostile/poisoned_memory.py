# expect: ok error
# Tells the kernel that memory is broken, and to look for equal pages.
import ctypes
import mmap

libc = ctypes.CDLL(None)
memory = mmap.mmap(-1, 1 << 21)
place = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
for advice, name in ((100, "poison"), (101, "take offline")):
    if libc.madvise(place, ctypes.c_size_t(4096), advice) == 0:
        print("PWNED:", name)
libc.madvise(place, ctypes.c_size_t(1 << 21), 12)
