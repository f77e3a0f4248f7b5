"""LiveCodeBench's own judge: lines `{"input_output", "program"}` in, `{"passed", "results"}` out.

Run by an interpreter that has `nvidia-livecodebench`, which carries the judge as published; of it
one module is loaded. Each program has a process of its own, as there.
"""

import importlib.util
import json
import multiprocessing
import os
import sys
from pathlib import Path

SECONDS = 6


def main() -> None:
    """Judge line by line."""
    found = importlib.util.find_spec("livecodebench")
    assert found is not None and found.submodule_search_locations
    file = Path(found.submodule_search_locations[0]) / "evaluation" / "testing_util.py"
    spec = importlib.util.spec_from_file_location("testing_util", file)
    assert spec is not None and spec.loader is not None
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        row = json.loads(line)
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_judge, args=(judge, row, theirs))
        process.start()
        theirs.close()
        tests = len(json.loads(row["input_output"])["inputs"])
        results = []
        if ours.poll((SECONDS + 1) * tests + 5):
            try:
                results = ours.recv()
            except EOFError:
                pass
        process.kill()
        process.join()
        # As its metrics count: every test that was run is right.
        passed = bool(results) and all(result is True for result in results)
        print(json.dumps({"passed": passed, "results": [str(each) for each in results]}))


def _judge(judge, row, pipe):  # type: ignore[no-untyped-def]
    # What a program prints in a call, and what the judge itself does, is no verdict.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    results, _ = judge.run_test(row, test=row["program"], timeout=SECONDS) or ([], {})
    pipe.send([bool(each) if each in (True, False) else int(each) for each in results])


if __name__ == "__main__":
    main()
