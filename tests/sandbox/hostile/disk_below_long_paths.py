# expect: ok error killed
# Fills the disk where no path is short enough to look.
import os
import time

block = b"x" * (1 << 20)
written = 0
try:
    for _ in range(18):
        os.mkdir("d" * 240)
        os.chdir("d" * 240)
    for number in range(10):
        with open(f"file{number}", "wb", buffering=0) as file:
            for _ in range(15):
                written += file.write(block)
except OSError as error:
    print(error)
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
if written > 100 << 20:
    print("PWNED: disk", written >> 20)
