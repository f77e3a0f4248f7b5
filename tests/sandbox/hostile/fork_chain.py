# expect: ok error killed timeout memory
# Each process lives a moment and hands on to the next: never two looks at the same one.
import os

try:
    while True:
        if os.fork():
            os._exit(0)
except OSError:
    pass
