# expect: ok error killed
# then: import os; print(["LEFT BEHIND" for name in os.listdir(".")]); open("mine", "w").close()
# Walls itself in where it has left something, so that nobody may tidy up after it.
import ctypes
import os
import struct

libc = ctypes.CDLL(None)
for number in range(20):
    everything = ctypes.create_string_buffer(struct.pack("=Q", 0x1FFF))
    ruleset = libc.syscall(444, everything, ctypes.c_size_t(8), 0)
    if number == 0:
        os.makedirs("kept/here")
        open("kept/here/file", "w").close()
    if ruleset >= 0:
        libc.syscall(446, ruleset, 0)
