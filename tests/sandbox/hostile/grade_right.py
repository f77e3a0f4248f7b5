# mode: grade
# expect: pass
def add(a, b):
    print("talking meanwhile", a, b)
    return a + b
