# expect: ok error killed memory timeout
import threading
import time

threading.stack_size(32768)
count = 0
try:
    while count < 5000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        count += 1
    print("PWNED: threads", count)
except (RuntimeError, MemoryError):
    print("stopped at", count)
