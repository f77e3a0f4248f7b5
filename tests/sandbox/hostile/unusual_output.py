# expect: ok
import sys

sys.stdout.buffer.write(bytes(range(256)) * 4)
sys.stdout.flush()
print("\udcff \x00 \x1b]0;title\x07 \u202e" + "x" * 100_000)
