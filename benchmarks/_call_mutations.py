"""Gold calls built from BFCL's possible answers, and the ways in which a call can be wrong.

Each mutation breaks one thing of a right answer; none of them may be paid. A mutation that BFCL's
own rules forgive (another case, other punctuation in a string) is not made.
"""

import copy
import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

Calls = list[dict[str, dict[str, Any]]]
Site = tuple[dict[str, Any], str, list[Any], dict[str, Any]]  # arguments, name, allowed, document


def gold_calls(answers: Calls, documents: list[dict[str, Any]], optional: bool = False) -> Calls:
    """The calls that give every argument its first allowed value, `optional` ones too if asked."""
    calls: Calls = []
    for answer in answers:
        ((name, allowed),) = answer.items()
        parameters = _document(documents, name)["parameters"]
        calls.append(
            {
                name: {
                    argument: _first(values)
                    for argument, values in allowed.items()
                    if argument in parameters["properties"]
                    and (
                        argument in parameters["required"]
                        or "" not in values
                        or (optional and any(value != "" for value in values))
                    )
                }
            }
        )
    return calls


def _document(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(document for document in documents if document["name"] == name)


def _first(values: list[Any]) -> Any:
    if not values:
        return []
    return _plain(next((value for value in values if value != ""), ""))


def _plain(value: Any) -> Any:
    """A possible answer's value as a model would write it: dicts hold lists of allowed values."""
    if isinstance(value, dict):
        entries = {key: v if isinstance(v, list) else [v] for key, v in value.items()}
        return {
            key: _plain(next(v for v in allowed if v != ""))
            for key, allowed in entries.items()
            if any(v != "" for v in allowed)
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def mutations(
    answers: Calls, documents: list[dict[str, Any]], rng: random.Random
) -> Iterator[tuple[str, Calls]]:
    """Every kind of mutation that applies to this row, once, with the calls that it gives."""
    gold = gold_calls(answers, documents, optional=True)
    for kind, change in {**_WHOLE, **_ARGUMENT}.items():
        calls = copy.deepcopy(gold)
        if kind in _WHOLE:
            if change(calls, documents, rng):
                yield kind, calls
            continue
        sites = _sites(calls, answers, documents)
        rng.shuffle(sites)
        if any(change(site) for site in sites):
            yield kind, calls


def _sites(calls: Calls, answers: Calls, documents: list[dict[str, Any]]) -> list[Site]:
    return [
        (arguments, name, answer[function][name], _document(documents, function)["parameters"])
        for call, answer in zip(calls, answers, strict=True)
        for function, arguments in call.items()
        for name in arguments
    ]


def _rename_call(calls: Calls, place: int, name: str) -> bool:
    ((_, arguments),) = calls[place].items()
    calls[place] = {name: arguments}
    return True


def _wrong_name(calls: Calls, documents: Any, rng: random.Random) -> bool:
    place = rng.randrange(len(calls))
    return _rename_call(calls, place, next(iter(calls[place])) + "_v2")


def _name_case(calls: Calls, documents: Any, rng: random.Random) -> bool:
    place = rng.randrange(len(calls))
    name = next(iter(calls[place]))
    return _rename_call(calls, place, name.swapcase())


def _other_function(calls: Calls, documents: Any, rng: random.Random) -> bool:
    place = rng.randrange(len(calls))
    others = [d["name"] for d in documents if d["name"] not in calls[place]]
    return bool(others) and _rename_call(calls, place, rng.choice(others))


def _dropped_call(calls: Calls, documents: Any, rng: random.Random) -> bool:
    calls.pop(rng.randrange(len(calls)))
    return True


def _duplicated_call(calls: Calls, documents: Any, rng: random.Random) -> bool:
    calls.append(copy.deepcopy(rng.choice(calls)))
    return True


def _replaced_by_duplicate(calls: Calls, documents: Any, rng: random.Random) -> bool:
    if len(calls) < 2 or _normal(str(calls[0])) == _normal(str(calls[1])):
        return False
    calls[0] = copy.deepcopy(calls[1])
    return True


def _swapped_arguments(calls: Calls, documents: Any, rng: random.Random) -> bool:
    """Two numbers of one call change places, where both are required to be what they were."""
    for call in calls:
        ((_, arguments),) = call.items()
        numbers = [n for n, v in arguments.items() if _is_number(v)]
        for first, second in itertools.pairwise(numbers):
            if arguments[first] != arguments[second]:
                arguments[first], arguments[second] = arguments[second], arguments[first]
                return True
    return False


def _extra_argument(calls: Calls, documents: Any, rng: random.Random) -> bool:
    ((_, arguments),) = rng.choice(calls).items()
    arguments["not_a_parameter"] = 1
    return True


def _all_arguments_in_one(calls: Calls, documents: Any, rng: random.Random) -> bool:
    ((name, arguments),) = calls[0].items()
    calls[0] = {name: {"arguments": arguments}}
    return True


def _no_calls(calls: Calls, documents: Any, rng: random.Random) -> bool:
    calls.clear()
    return True


_WHOLE: dict[str, Callable[..., bool]] = {
    "wrong_name": _wrong_name,
    "name_case": _name_case,
    "other_function": _other_function,
    "dropped_call": _dropped_call,
    "duplicated_call": _duplicated_call,
    "replaced_by_duplicate": _replaced_by_duplicate,
    "swapped_arguments": _swapped_arguments,
    "extra_argument": _extra_argument,
    "arguments_in_one": _all_arguments_in_one,
    "no_calls": _no_calls,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _normal(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"')
    return value


def _is_allowed(value: Any, allowed: list[Any]) -> bool:
    alike = [item for item in allowed if isinstance(item, bool) == isinstance(value, bool)]
    return any(_normal(value) == _normal(item) for item in alike)


def _replace(site: Site, value: Any) -> bool:
    arguments, name, allowed, _ = site
    if _is_allowed(value, allowed):
        return False
    arguments[name] = value
    return True


def _missing_argument(site: Site) -> bool:
    arguments, name, allowed, parameters = site
    if name not in parameters["required"] and ("" in allowed or not allowed):
        return False
    del arguments[name]
    return True


def _argument_case(site: Site) -> bool:
    arguments, name, *_ = site
    other = name.swapcase()
    if other == name or other in arguments:
        return False
    arguments[other] = arguments.pop(name)
    return True


def _on(kind: type | tuple[type, ...], change: Callable[[Any], Any]) -> Callable[[Site], bool]:
    def mutate(site: Site) -> bool:
        value = site[0][site[1]]
        exact = type(value) in (kind if isinstance(kind, tuple) else (kind,))
        return exact and _replace(site, change(value))

    return mutate


def _blank(site: Site) -> bool:
    """A text that is nothing once its punctuation is ignored, where a real one is asked for."""
    arguments, name, allowed, _ = site
    texts = [item for item in allowed if isinstance(item, str) and item != ""]
    if not isinstance(arguments[name], str) or not texts or not all(map(_normal, texts)):
        return False
    arguments[name] = "-"
    return True


def _in_list(change: Callable[[list[Any]], Any]) -> Callable[[Site], bool]:
    def mutate(site: Site) -> bool:
        value = site[0][site[1]]
        if not isinstance(value, list) or not value:
            return False
        changed = change(copy.deepcopy(value))
        return changed is not None and changed != value and _replace(site, changed)

    return mutate


def _in_dict(change: Callable[[dict[str, Any], dict[str, Any]], bool]) -> Callable[[Site], bool]:
    """Change the first dict of an argument, or of a list that an argument is."""

    def mutate(site: Site) -> bool:
        value, allowed = site[0][site[1]], [item for item in site[2] if item != ""]
        if isinstance(value, list) and value and allowed and isinstance(allowed[0], list):
            value, allowed = value[0], [item[0] for item in allowed if item]
        # With several allowed dicts the broken one may be another of them.
        if not isinstance(value, dict) or not value or len(allowed) != 1:
            return False
        return change(value, allowed[0])

    return mutate


def _dict_unknown_key(value: dict[str, Any], allowed: dict[str, Any]) -> bool:
    value["not_a_key"] = 1
    return True


def _dict_missing_key(value: dict[str, Any], allowed: dict[str, Any]) -> bool:
    for key, choices in allowed.items():
        if key in value and isinstance(choices, list) and "" not in choices:
            del value[key]
            return True
    return False


def _dict_value(change: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, Any]], bool]:
    def mutate(value: dict[str, Any], allowed: dict[str, Any]) -> bool:
        for key, choices in allowed.items():
            if key in value and isinstance(choices, list):
                changed = change(value[key])
                if changed is not None and not _is_allowed(changed, choices):
                    value[key] = changed
                    return True
        return False

    return mutate


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return value + "x" if isinstance(value, str) else None


def _as_other_type(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    return str(value) if isinstance(value, (int, float)) else None


def _as_bool(value: Any) -> Any:
    return bool(value) if _is_number(value) and value in (0, 1) else None


_ARGUMENT: dict[str, Callable[[Site], bool]] = {
    "missing_argument": _missing_argument,
    "argument_case": _argument_case,
    "int_changed": _on(int, lambda value: value + 1),
    "sign_changed": _on((int, float), lambda value: -value if value else 1),
    "float_changed": _on(float, lambda value: value + 0.5),
    "fraction_for_int": _on(int, lambda value: value + 0.25),
    "bool_flipped": _on(bool, lambda value: not value),
    "bool_for_int": _on(int, bool),
    "int_for_bool": _on(bool, int),
    "str_for_number": _on((int, float), str),
    "str_for_bool": _on(bool, str),
    "number_for_str": _on(str, len),
    "string_changed": _on(str, lambda value: value + "x"),
    "string_cut": _on(str, lambda value: value[1:] if len(value) > 2 else value + "zz"),
    "string_blank": _blank,
    "null_for_value": _on((str, int, float, bool, list, dict), lambda value: None),
    "list_for_scalar": _on((str, int, float, bool), lambda value: [value]),
    "scalar_for_list": _in_list(lambda value: value[0]),
    "text_for_list": _in_list(str),
    "empty_list": _in_list(lambda value: []),
    "list_reversed": _in_list(lambda value: value[::-1]),
    "list_item_dropped": _in_list(lambda value: value[:-1]),
    "list_item_repeated": _in_list(lambda value: [*value, value[-1]]),
    "list_item_changed": _in_list(
        lambda value: [c, *value[1:]] if (c := _changed(value[0])) is not None else None
    ),
    "list_item_type": _in_list(
        lambda value: [c, *value[1:]] if (c := _as_other_type(value[0])) is not None else None
    ),
    "dict_unknown_key": _in_dict(_dict_unknown_key),
    "dict_missing_key": _in_dict(_dict_missing_key),
    "dict_value_changed": _in_dict(_dict_value(_changed)),
    "dict_value_type": _in_dict(_dict_value(_as_other_type)),
    "dict_bool_for_int": _in_dict(_dict_value(_as_bool)),
    "empty_dict": _in_dict(lambda value, allowed: _emptied(value, allowed)),
}


def _emptied(value: dict[str, Any], allowed: dict[str, Any]) -> bool:
    if all(isinstance(choices, list) and "" in choices for choices in allowed.values()):
        return False
    value.clear()
    return True
