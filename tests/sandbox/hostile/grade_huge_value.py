# mode: grade
# expect: fail
def add(a, b):
    return "x" * (100 << 20) if a == 2 else a + b
