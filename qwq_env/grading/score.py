"""What a grader says about one answer: a number, or that it could not decide.

"Could not decide" is a result of its own. A grader that returned 0.0 when it ran out of time or
lost its worker would teach the policy that a right answer was wrong; a trainer masks the episode
instead. So `value` is None then, and nothing in this library turns that None into a number.
"""

from dataclasses import dataclass, field, replace

__all__ = ["Score"]


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on one answer.

    `value` is the reward, 0.0 for wrong and 1.0 for right (graders with partial credit give what
    lies between), or None when the grader could not decide. `reason` is a short stable identifier
    to count by (`equal`, `different`, `no_answer`, `timeout`, `too_complex`, `infra`, ...);
    `detail` is for a person and may change from release to release, and so is `extracted`: what the
    grader took for the answer, where it had to look for one.

        score = await grader.grade(gold="1/2", answer="0.5")
        if score.decided:
            learn_from(score.value)
    """

    value: float | None
    reason: str
    detail: str = ""
    extracted: str = field(default="", compare=False)

    @classmethod
    def right(cls, reason: str = "equal", detail: str = "") -> "Score":
        """Full reward, 1.0."""
        return cls(1.0, reason, detail)

    @classmethod
    def wrong(cls, reason: str = "different", detail: str = "") -> "Score":
        """No reward, 0.0: the grader is sure that the answer does not earn any."""
        return cls(0.0, reason, detail)

    @classmethod
    def partial(cls, value: float, reason: str, detail: str = "") -> "Score":
        """A reward of `value`, decided. Raises ValueError unless `value` is a finite number."""
        value = float(value)
        if value - value != 0.0:
            raise ValueError(f"a decided score is a finite number, got {value!r}")
        return cls(value, reason, detail)

    @classmethod
    def undecided(cls, reason: str, detail: str = "") -> "Score":
        """No verdict: the episode is retried or masked, never counted as wrong."""
        return cls(None, reason, detail)

    def of(self, extracted: str | None) -> "Score":
        """Return the score as one of the answer that the grader found; None: it found none."""
        return replace(self, extracted=extracted) if extracted else self

    @property
    def decided(self) -> bool:
        """Whether there is a `value` to learn from."""
        return self.value is not None
