# mode: grade
# expect: fail
def add(a, b):
    return "x" * (100 << 20)
