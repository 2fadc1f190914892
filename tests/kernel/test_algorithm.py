"""Algorithms as data: the presets are the kernels they are named after, and a modified preset has one name only."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.errors import AlgorithmError, UserError
from anonvma_rt.kernel.algorithm import ALIASES, BEHAVIOUR, CHOICES, PRESETS, SWITCHES, Algorithm
from anonvma_rt.mm.hooks.algorithm import FIELDS

# What a preset does unlike Linux 3.2, from which all of them are made.
DIFFERENT = {
    "unpatched": {},
    "moveto-tail": {"ordering": "tail", "decode_in_zap": True},
    "moveto-tail-merge-only": {"ordering": "tail-after-merge"},
    "peeking": {"restore_peeks": True, "mremap_splits": True, "move_flush": "each"},
    "rmap-locks": {"ordering": "rmap-locks"},
    "fresh-vma": {"ordering": "fresh-vma"},
    "double-walk": {"ordering": "double-walk"},
}
TREE = {
    "ordering": "need-rmap-locks", "tree": True, "decode_in_zap": True, "shift_locks": True,
    "place_before_clone": True, "unstable_pmd": "faults", "gather_flush": "rest",
}  # fmt: skip
MODERN = TREE | {
    "shared_walks": True, "whole_tables": True, "free_root_first": False, "recheck_mapping": True, "import_ahead": True,
    "reuse": "counters", "move_pages": "4.17", "wait_without_pin": True, "pmd_twice": False, "refuse_copies": True,
    "unstable_pmd": "no", "munmap_downgrades": True, "exclusive_growth": True, "restore_compares": True,
    "batches": "6.3", "cow_reuse": "5.19", "aligned": "6.8", "collapse": "5.8", "pud_moves": True,
    "case_8_grows": False, "swapin": "prepared", "keeps_pinned": True, "uffd_swap": "6.16", "gup_cow": "5.19",
    "fork_copies_pinned": True, "write_protect_seq": True, "lazyfree_refs": True, "gup_rechecks_pmd": True,
    "move_flush": "locked", "gather_flush": "gathered", "protect_counts": True,
    "nested_flush": True, "deferred_flush": True, "batched_pending": True,
    "thp": "4.14", "cow_splits": True, "split_locks": True, "split_warns": True, "split_sync": True,
    "huge_zero": "6.13", "large_folios": True,
}  # fmt: skip
DIFFERENT |= {
    "interval-tree": TREE,
    "interval-tree-shared": TREE
    | {"shared_walks": True, "gather_flush": "short", "protect_counts": True, "huge_zero": "3.8"},
    "interval-tree-thp-unfixed": TREE | {"huge_ignores_locks": True},
    "modern": MODERN,
    "linux-6.19": MODERN
    | {
        "merge": "6.16",
        "calls": "6.17",
        "growth": "merge",
        "aligned": "6.12",
        "vma_locks": "6.15",
        "split_zeroes": True,
    },
}


def refused(text: str) -> str:
    with pytest.raises(AlgorithmError) as caught:
        Algorithm.parse(text)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_preset_differs_from_linux_3_2_in_what_its_patches_changed(name: str) -> None:
    fields = PRESETS[name].as_dict()
    base = Algorithm("x").as_dict()
    assert {field: fields[field] for field in BEHAVIOUR if fields[field] != base[field]} == DIFFERENT[name]


def test_linux_3_2_has_none_of_the_mistakes_that_were_repaired_before_it_or_never_made() -> None:
    base = Algorithm("x").as_dict()
    on = {field for field in SWITCHES if base[field]}
    assert on == {
        "stack_flag", "pin", "careful_pin", "lock_new", "recheck_mapped", "remember_root",
        "swapin_rechecks", "free_root_first", "isolate", "pmd_twice",  # the last one repaired in 3.16 only
        "case_8_grows",  # in 4.9
    }  # fmt: skip
    assert {field: base[field] for field in CHOICES} == {field: words[0] for field, words in CHOICES.items()}


def test_the_presets_of_2011_come_first() -> None:
    era = ["unpatched", "moveto-tail", "moveto-tail-merge-only", "peeking", "rmap-locks"]
    assert list(PRESETS)[:5] == era and set(DIFFERENT) <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_is_and_parses_as_itself(name: str) -> None:
    preset = PRESETS[name]
    assert preset.name == name and preset.about.isprintable() and preset.about and preset.kernel
    assert Algorithm.parse(name) is preset


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("linux-3.0", "peeking"),
        ("linux-3.2", "unpatched"),
        ("linux-3.3", "moveto-tail"),
        ("linux-3.7", "interval-tree-thp-unfixed"),
        ("linux-3.15", "interval-tree-shared"),
        ("linux-6.19", "linux-6.19"),
    ],
)
def test_a_kernel_version_is_an_alias_of_its_preset(alias: str, name: str) -> None:
    assert ALIASES.get(alias, alias) == name and Algorithm.parse(alias) is PRESETS[name]


def test_the_kernel_has_the_same_fields_and_reads_all_of_them() -> None:
    assert FIELDS == BEHAVIOUR and set(CHOICES) < set(FIELDS)


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
    assert modified.about.endswith("; but restore_peeks=true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unpached", 'unknown algorithm "unpached" (did you mean "unpatched"?)'),
        ("linux-hots", 'unknown algorithm "linux-hots" (did you mean "linux-host"?)'),
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
        ("peeking,name=x", 'algorithm "peeking,name=x": unknown field "name" (choices: ordering, tree, '),
        ("a\nb", 'unknown algorithm "a\\nb" (choices: '),
    ],
)
def test_an_unknown_algorithm_or_field_is_refused_with_the_nearest(text: str, message: str) -> None:
    assert refused(text).startswith(message)


def test_a_reproducer_keeps_the_behaviour_and_the_name() -> None:
    data = PRESETS["moveto-tail"].as_dict()
    assert list(data) == ["name", *BEHAVIOUR] and data["ordering"] == "tail" and data["decode_in_zap"] is True
    again = Algorithm.from_dict(data)
    assert again == PRESETS["moveto-tail"] and again.kernel == "3.3"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_a_reproducer(name: str) -> None:
    again = Algorithm.from_dict(PRESETS[name].as_dict())
    assert again == PRESETS[name] and again.kernel == PRESETS[name].kernel and again.about


def test_a_reproducer_from_before_the_lab_knew_a_field_is_as_linux_3_2() -> None:
    first_release = {
        "name": "moveto-tail", "ordering": "tail", "restore_peeks": False, "decode_in_zap": True, "single_ptl": False,
    }  # fmt: skip
    assert Algorithm.from_dict(first_release) == PRESETS["moveto-tail"]
    assert Algorithm.from_dict({"name": "unpatched"}) == PRESETS["unpatched"]
    assert Algorithm.from_dict({"name": "peeking"}).restore_peeks is False, "the fields decide and not the name"


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


def test_a_reproducers_algorithm_has_a_name() -> None:
    data = PRESETS["unpatched"].as_dict()
    del data["name"]
    with pytest.raises(AlgorithmError, match=r"^algorithm: the field name is missing$"):
        Algorithm.from_dict(data)


@pytest.mark.parametrize("field", CHOICES)
def test_a_field_of_a_few_words_takes_no_other(field: str) -> None:
    for word in CHOICES[field]:
        assert getattr(Algorithm.parse(f"unpatched,{field}={word}"), field) == word
    assert refused(f"unpatched,{field}=zzz").startswith(f'algorithm "unpatched,{field}=zzz": unknown {field} "zzz" (')


@settings(deadline=None)
@given(
    st.sampled_from([*PRESETS, *ALIASES]),
    st.dictionaries(st.sampled_from(SWITCHES), st.booleans()),
    st.fixed_dictionaries({}, optional={field: st.sampled_from(words) for field, words in CHOICES.items()}),
)
def test_name_and_dict_both_carry_the_whole_algorithm(base: str, bools: dict[str, bool], words: dict[str, str]) -> None:
    changes = [f"{name}={value}" for name, value in (bools | words).items()]
    algorithm = Algorithm.parse(",".join([base, *changes]))
    assert Algorithm.parse(algorithm.name) == algorithm == Algorithm.from_dict(algorithm.as_dict())
    assert all(getattr(algorithm, name) == value for name, value in (bools | words).items())


@settings(deadline=None)
@given(st.text(max_size=80))
def test_garbage_is_never_anything_but_a_user_error(text: str) -> None:
    for candidate in (text, f"peeking,{text}", f"peeking,ordering={text}"):
        try:
            Algorithm.parse(candidate)
        except UserError as error:
            assert str(error).isprintable()
