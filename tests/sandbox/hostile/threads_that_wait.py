# expect: ok error killed
# Few of them cost memory, none costs time.
import threading
import time

threading.stack_size(65536)
event = threading.Event()
count = 0
try:
    while count < 300:
        threading.Thread(target=event.wait, daemon=True).start()
        count += 1
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    print("PWNED: threads", count)
except (RuntimeError, MemoryError):
    pass
event.set()
