# expect: ok error
import builtins
import gc
import sys

for name in list(vars(builtins)):
    if name in ("print", "repr", "open", "len", "isinstance", "BaseException"):
        setattr(builtins, name, None)
frame = sys._getframe()
while frame:
    for value in list(frame.f_globals.values()):
        if type(value) is type(sys) and value.__name__.startswith("qwq"):
            vars(value).clear()
    frame = frame.f_back
for thing in gc.get_objects():
    if type(thing) is dict and "CHANNEL" in thing:
        thing.clear()
sys.modules.clear()
sys.stdout = sys.stderr = sys.stdin = None
