"""Functions that the pool's tests run in workers: good ones, stuck ones, deadly ones."""

import os
import time
from pathlib import Path

from qwq_env.grading.score import Score


def graded(task: str, argument: object = None) -> Score:
    return _TASKS[task](argument)


def _sleep(argument):
    time.sleep(float(argument))
    return Score.right()


def _sleep_once(path):
    if not Path(path).exists():
        Path(path).touch()
        time.sleep(60)
    return Score.right()


def _spin(seconds):
    began = time.process_time()
    while time.process_time() - began < float(seconds):
        pass
    return Score.right()


def _die(argument):
    os.kill(os.getpid(), 9)


def _die_once(path):
    if Path(path).exists():
        return Score.right()
    Path(path).touch()
    os.kill(os.getpid(), 9)


def _eat(argument):
    return Score.right(str(len(bytearray(int(argument)))))


def _ignore_everything(argument):
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


_TASKS = {
    "echo": lambda argument: Score.right(str(argument)),
    "pid": lambda argument: Score.right(str(os.getpid())),
    "environment": lambda argument: Score.right(str(os.environ.get(argument))),
    "sleep": _sleep,
    "sleep_once": _sleep_once,
    "spin": _spin,
    "die": _die,
    "die_once": _die_once,
    "eat": _eat,
    "raise": lambda argument: 1 / 0,
    "ignore_everything": _ignore_everything,
}
