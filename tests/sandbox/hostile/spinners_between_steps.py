# mode: session
# expect: ok error killed timeout
# Answers, and leaves processes behind that fill the channel of the session and its streams.
import os

try:
    for descriptor in (6, 1, 2, 5):
        if os.fork() == 0:
            try:
                while True:
                    os.write(descriptor, b"LEFT BEHIND" * 1000)
            finally:
                os._exit(0)
except OSError:
    print("no forks")
