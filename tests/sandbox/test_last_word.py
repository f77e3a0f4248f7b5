"""The last word of a slot that ends is heard, whatever was on its way to it then."""

import logging

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


LEAVE = """
import os, time
open("file", "w").close()
for number in range(600):
    os.link("file", str(number))
"""


async def test_no_program_runs_twice_because_its_slot_ended_on_an_order(bare, caplog):
    # So many files end the slot; after 5 ms its time is watched, by an order to the slot.
    with caplog.at_level(logging.INFO):
        for step in range(150):
            seconds = 0.002 + 0.00004 * step
            result = await bare.run(LEAVE + f"time.sleep({seconds})")

            assert result.ok
    assert "lost" not in caplog.text
