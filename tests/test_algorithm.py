"""Algorithms as data: the presets are the kernels they are named after, and a modified preset has one name only."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.algorithm import ALIASES, ORDERINGS, PRESETS, Algorithm
from anonvma_rt.errors import AlgorithmError, UserError

BOOLS = ("restore_peeks", "decode_in_zap", "single_ptl")


def refused(text: str) -> str:
    with pytest.raises(AlgorithmError) as caught:
        Algorithm.parse(text)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_presets_are_the_patches_of_2011() -> None:
    assert list(PRESETS) == ["unpatched", "moveto-tail", "moveto-tail-merge-only", "peeking", "rmap-locks"]
    assert {name: (a.ordering, a.restore_peeks, a.decode_in_zap, a.single_ptl) for name, a in PRESETS.items()} == {
        "unpatched": ("none", False, False, False),
        "moveto-tail": ("tail", False, True, False),
        "moveto-tail-merge-only": ("tail-after-merge", False, False, False),
        "peeking": ("none", True, False, False),
        "rmap-locks": ("rmap-locks", False, False, False),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_is_and_parses_as_itself(name: str) -> None:
    preset = PRESETS[name]
    assert preset.name == name and preset.about.isprintable() and preset.about and preset.kernel
    assert Algorithm.parse(name) is preset


@pytest.mark.parametrize(
    ("alias", "name"), [("linux-3.0", "peeking"), ("linux-3.2", "unpatched"), ("linux-3.3", "moveto-tail")]
)
def test_a_kernel_version_is_an_alias_of_its_preset(alias: str, name: str) -> None:
    assert ALIASES[alias] == name and Algorithm.parse(alias) is PRESETS[name]


def test_only_the_whole_patch_promises_the_order_of_the_list() -> None:
    assert [name for name, preset in PRESETS.items() if preset.promises_order] == ["moveto-tail"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rmap-locks,restore_peeks=true", "rmap-locks,restore_peeks=true"),
        (" linux-3.2 , single_ptl = YES ", "unpatched,single_ptl=true"),
        ("unpatched,single_ptl=1,ordering=tail", "unpatched,ordering=tail,single_ptl=true"),
        ("moveto-tail,decode_in_zap=off", "moveto-tail,decode_in_zap=false"),
        ("peeking,restore_peeks=true", "peeking"),
    ],
)
def test_a_modified_preset_has_one_normal_name(text: str, name: str) -> None:
    algorithm = Algorithm.parse(text)
    assert algorithm.name == name
    assert Algorithm.parse(name) == algorithm


def test_a_modified_preset_changes_only_the_named_fields() -> None:
    modified = Algorithm.parse("moveto-tail,restore_peeks=true")
    assert modified == dataclasses.replace(
        PRESETS["moveto-tail"], name="moveto-tail,restore_peeks=true", restore_peeks=True
    )
    assert modified.promises_order and modified.about.endswith("; but restore_peeks=true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unpached", 'unknown algorithm "unpached" (did you mean "unpatched"?)'),
        ("linux-3.1", 'unknown algorithm "linux-3.1" (did you mean "linux-3.'),
        (
            "",
            'unknown algorithm "" (choices: unpatched, moveto-tail, moveto-tail-merge-only, peeking, rmap-locks, ',
        ),
        (
            "peeking,restore_peek=1",
            'algorithm "peeking,restore_peek=1": unknown field "restore_peek" (did you mean "res',
        ),
        ("peeking,ordering=tial", 'algorithm "peeking,ordering=tial": unknown ordering "tial" (did you mean "tail"?)'),
        ("peeking,single_ptl=2", 'algorithm "peeking,single_ptl=2": single_ptl must be true or false, not "2"'),
        ("peeking,single_ptl", 'algorithm "peeking,single_ptl": "single_ptl" is not of the form field=value'),
        ("peeking,", 'algorithm "peeking,": "" is not of the form field=value'),
        (
            "peeking,single_ptl=1,single_ptl=0",
            'algorithm "peeking,single_ptl=1,single_ptl=0": single_ptl is given twice',
        ),
        ("peeking,name=x", 'algorithm "peeking,name=x": unknown field "name" (choices: ordering, restore_peeks, dec'),
        ("a\nb", 'unknown algorithm "a\\nb" (choices: '),
    ],
)
def test_an_unknown_algorithm_or_field_is_refused_with_the_nearest(text: str, message: str) -> None:
    assert refused(text).startswith(message)


def test_a_reproducer_keeps_the_behaviour_and_the_name() -> None:
    data = PRESETS["moveto-tail"].as_dict()
    assert data == {
        "name": "moveto-tail", "ordering": "tail", "restore_peeks": False, "decode_in_zap": True, "single_ptl": False,
    }  # fmt: skip
    again = Algorithm.from_dict(data)
    assert again == PRESETS["moveto-tail"] and again.kernel == "3.3"


def test_in_a_reproducer_the_fields_decide_and_not_the_name() -> None:
    data = PRESETS["moveto-tail"].as_dict() | {"ordering": "none"}
    again = Algorithm.from_dict(data)
    assert again.ordering == "none" and again.kernel == ""
    assert Algorithm.from_dict(data | {"name": "my own"}).name == "my own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"singel_ptl": True}, 'algorithm: unknown field "singel_ptl" (did you mean "single_ptl"?)'),
        ({"about": "x"}, 'algorithm: unknown field "about" (choices: name, ordering, '),
        ({"ordering": "tails"}, 'algorithm: unknown ordering "tails" (did you mean "tail"?)'),
        ({"ordering": ["tail"]}, "algorithm: unknown ordering "),
        ({"restore_peeks": 1}, "algorithm: restore_peeks must be true or false"),
        ({"name": ""}, "algorithm: the name must be a line of text"),
        ({"name": 3}, "algorithm: the name must be a line of text"),
        ({"name": "a\nb"}, "algorithm: the name must be a line of text"),
    ],
)
def test_a_reproducers_algorithm_is_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(AlgorithmError) as caught:
        Algorithm.from_dict(PRESETS["unpatched"].as_dict() | change)
    assert str(caught.value).startswith(message) and str(caught.value).isprintable()


@pytest.mark.parametrize("field", ["name", "ordering", *BOOLS])
def test_a_reproducers_algorithm_lacks_nothing(field: str) -> None:
    data = PRESETS["unpatched"].as_dict()
    del data[field]
    with pytest.raises(AlgorithmError, match=f"^algorithm: the field {field} is missing$"):
        Algorithm.from_dict(data)


@settings(deadline=None)
@given(
    st.sampled_from([*PRESETS, *ALIASES]),
    st.dictionaries(st.sampled_from(BOOLS), st.booleans()),
    st.none() | st.sampled_from(ORDERINGS),
)
def test_name_and_dict_both_carry_the_whole_algorithm(base: str, bools: dict[str, bool], ordering: str | None) -> None:
    changes = [f"{name}={value}" for name, value in bools.items()] + ([f"ordering={ordering}"] if ordering else [])
    algorithm = Algorithm.parse(",".join([base, *changes]))
    assert Algorithm.parse(algorithm.name) == algorithm == Algorithm.from_dict(algorithm.as_dict())
    assert all(getattr(algorithm, name) is value for name, value in bools.items())
    assert ordering is None or algorithm.ordering == ordering


@settings(deadline=None)
@given(st.text(max_size=80))
def test_garbage_is_never_anything_but_a_user_error(text: str) -> None:
    for candidate in (text, f"peeking,{text}", f"peeking,ordering={text}"):
        try:
            Algorithm.parse(candidate)
        except UserError as error:
            assert str(error).isprintable()
