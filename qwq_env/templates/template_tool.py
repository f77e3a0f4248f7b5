"""The tool `template_tool`: give it to an environment as `ToolEnv(tasks, [template_tool], ...)`."""

from qwq_env import ToolError, tool

POPULATION = {"Lima": 10.1, "Nairobi": 4.4, "Paris": 2.1}


@tool(blocking=False)  # it returns at once; leave that out for one that waits
def template_tool(city: str, digits: int = 1) -> str:
    """Look up how many million people live in a city.

    Args:
        city: The city's name in English.
        digits: Decimal places of the answer, 0 to 3.
    """
    if city not in POPULATION:
        raise ToolError(f"no city named {city!r}; try {', '.join(POPULATION)}")
    if not 0 <= digits <= 3:
        raise ToolError(f"digits: {digits}; expected 0 to 3")
    return f"{POPULATION[city]:.{digits}f} million"
