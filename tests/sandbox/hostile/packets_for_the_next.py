# expect: ok error
# then: print("honest")
# Makes packets of what it writes, so that whoever reads one at a time leaves the rest lying.
import fcntl
import os

WORDS = (b"a\n", b"LEFT BEHIND\n", b"LEFT BEHIND\n", b"LEFT BEHIND\n")

for descriptor in (1, 2, 5):
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_DIRECT)
    except OSError:
        pass
    for word in WORDS:
        os.write(descriptor, word)
try:
    # Packets that were made in a pipe of one's own stay packets when they are moved.
    reading, writing = os.pipe2(os.O_DIRECT)
    for word in WORDS:
        os.write(writing, word)
        os.splice(reading, 1, len(word))
except (OSError, AttributeError):
    pass
for descriptor in (1, 2, 5):
    try:
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT)
        for word in WORDS:
            os.write(again, word)
    except OSError:
        pass
os.write(5, bytes(4096))
os._exit(0)
