# mode: grade
# expect: fail
class Chameleon(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def add(a, b):
    return Chameleon(0)
