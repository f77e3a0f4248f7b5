# expect: ok error killed
# A 32-bit system call (int 0x80) has other numbers, and must not slip past the list.
import ctypes
import mmap
import platform

if platform.machine() == "x86_64":
    # mov eax, 20 (getpid); int 0x80; ret
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    if function() > 0:
        print("PWNED: int 0x80")
