"""A compiled subject of somebody else's under every verb, and what no file may do: start code.

The example packages in a fresh virtual environment are in tests/package.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from embedding_tools import documented

import anonvma_rt
from anonvma_rt import Reproducer, UserError, hunt, replay, shrink, storm, subject, verify
from anonvma_rt.lab.load import load

STACK = "aba_stack:Stack"
pytestmark = pytest.mark.usefixtures("own")


def test_a_subject_is_hunted_with_its_variants_as_algorithms(tmp_path):
    result = hunt(subject(STACK), runs=10_000, out=tmp_path)
    plain, tagged = result.results
    assert (result.scenario, result.parameters, result.as_expected) == (STACK, {"nodes": 3}, True)
    assert (plain.algorithm, list(plain.violations)) == ("plain", ["duplicate-node"])
    assert (tagged.algorithm, tagged.violations) == ("tagged", {})
    two = hunt(subject(STACK), runs=10_000, jobs=2, carrier="fibers")
    assert [one.schedules_sha256 for one in two.results] == [one.schedules_sha256 for one in result.results]


def test_the_fix_is_verified_and_the_bug_is_among_the_classes():
    result = verify(subject(STACK), all_violations=True)
    plain, tagged = result.results
    assert result.as_expected and plain.complete and tagged.complete
    assert plain.violating_classes["duplicate-node"] >= 1 and plain.classes > tagged.classes / 2
    assert tagged.verdict == f"VERIFIED under SC (complete, {tagged.classes} classes)"


def test_values_choose_among_the_variants_and_are_checked():
    described = subject(STACK)
    assert described.bind({"tagged": "true", "nodes": "4"}).usual() == ["tagged"]
    assert described.bind({"nodes": "2+2"}).make_subject("plain").tasks == 2
    for values, says in (
        ({"nodes": "1"}, "subject aba_stack:Stack: parameter nodes: 1 is below the minimum 2"),
        ({"nods": "3"}, 'unknown parameter "nods" (did you mean "nodes"?)'),
        ({"tagged": "7"}, "parameter tagged: must be true or false"),
    ):
        with pytest.raises(UserError) as error:
            described.bind(values)
        assert says in str(error.value)
    with pytest.raises(UserError, match="variant plain has another value"):
        described.bind({"tagged": True}).choose("plain")
    with pytest.raises(UserError, match='unknown variant "plan"'):
        hunt(described, algorithms=["plan"], runs=1)


def test_what_is_given_in_python_comes_on_top_of_what_the_class_says():
    import aba_stack

    described = subject(
        aba_stack.Stack, parameters={"nodes": 2}, variants={"two": {"tagged": False}}, expect={"two": "duplicate-node"}
    )
    assert described.parameters["nodes"].default == 2 and list(described.variants) == ["plain", "tagged", "two"]
    assert hunt(described, algorithms=["two"], runs=3000).as_expected
    for given, says in (
        ({"variants": {"x": {"nodes": 99}}}, "variant x: nodes 99 is above the maximum 16"),
        ({"variants": {"x": {"nodes": "3"}}}, "variant x: nodes must be an integer"),
        ({"expect": {"plane": "none"}}, 'unknown variant "plane" (did you mean "plain"?)'),
        ({"parameters": {"nodes": {"defalt": 3}}}, '"defalt"'),
    ):
        with pytest.raises(UserError) as error:
            subject(STACK, **given)
        assert says in str(error.value)


def test_an_own_subject_may_expect_a_set_and_is_told_of_a_misspelt_kind():
    described = subject(STACK, expect={"plain": ["duplicate-node", "use-after-free"]})
    assert hunt(described, algorithms=["plain"], runs=3000).as_expected
    with pytest.raises(UserError) as error:
        hunt(subject(STACK, expect={"plain": "duplicate-nod"}), algorithms=["tagged"], runs=10)
    assert str(error.value) == (
        'subject aba_stack:Stack: expect.plain: unknown violation kind "duplicate-nod" (did you mean "duplicate-node"?)'
    )


# ---- histories -------------------------------------------------------------------------------------------------------


def test_a_history_has_the_words_of_the_subject():
    trace = hunt(subject(STACK), algorithms=["plain"], runs=3000).results[0].trace
    table = trace.table()
    assert "one" in table.splitlines()[0] and "pops node 0; the next is now node 1" in table
    assert "has popped it" in trace.cause()
    assert "load next of node 0" in trace.table(full=True) and "atomic top" in trace.table(full=True)


def test_a_subject_that_says_nothing_has_a_history_all_the_same():
    described = subject("embedded:Plain")
    (one,) = hunt(described, runs=200).results
    assert (one.algorithm, list(one.violations), one.as_expected) == ("usual", ["lost-update"], False)
    table = one.trace.table()
    assert "task 0" in table and "load object" in table and "store object" in table
    assert re.fullmatch(r"the check found lost-update at step \d: 1, 2, 0\.", one.trace.cause())


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        (3, "lock-order", "took a lock of class"),
        (4, "bad-unlock", "it did not hold it"),
        (5, "use-after-free", "after it was freed"),
        (6, "livelock", "the tasks still have not ended"),
    ],
)
def test_what_the_engine_finds_in_a_subject_is_said_in_words(how, kind, says):
    (one,) = hunt(subject("embedded:Wrong"), {"how": how}, runs=300 if how != 6 else 1, carrier="fibers").results
    assert kind in one.violations and says in one.trace.cause()


def test_a_task_in_a_deadlock_waits_for_what_it_wants_and_not_for_what_it_did_last():
    (one,) = hunt(subject("embedded:Wrong"), {"how": 7}, runs=300, carrier="fibers").results
    found = re.fullmatch(
        r"Nobody can go on: task 0 waits for object (\d+), which task 1 holds since step \d+; task 1 waits for object "
        r"(\d+), which task 0 holds since step \d+\.",
        one.trace.cause(),
    )
    # The second lock lies behind the first one, and each task holds the one of its own number.
    assert list(one.violations) == ["deadlock"] and int(found[1]) > int(found[2])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (1, "subject embedded:Wrong: Wrong.build returned 42"),
        (2, "subject embedded:Wrong: a violation while the subject was built, before any task ran: use-after-free"),
        (8, "subject embedded:Wrong(how=8): tasks must be from 1 to 255, not 300"),
        (9, "subject embedded:Wrong(how=9): nine is too many"),
    ],
)
def test_a_subject_that_cannot_be_built_is_one_clear_line(how, says):
    with pytest.raises(UserError) as error:
        hunt(subject("embedded:Wrong"), {"how": how}, runs=1)
    assert str(error.value) == says


# ---- reproducers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    return hunt(subject(STACK), algorithms=["plain"], runs=3000, out=tmp_path).results[0].first.reproducer


def test_a_reproducer_names_the_class_and_replays_only_with_it(saved):
    body = json.loads(Path(saved).read_text())
    assert 'subject = "aba_stack:Stack"' in body["scenario"]["text"] and ":" not in saved.rpartition("/")[2]
    with pytest.raises(UserError, match=r"needs code of your own.*--subject aba_stack:Stack"):
        Reproducer.load(saved)
    with pytest.raises(UserError, match="needs code of your own"):
        Reproducer.load(saved, [subject("embedded:Plain")])
    replayed = replay(Reproducer.load(saved, [subject(STACK)]), times=10)
    assert (replayed.reproduced, replayed.same_trace, replayed.kind) == (10, True, "duplicate-node")
    assert "one: at step" in replayed.program.state(replayed.explorer, replayed.trace)
    replayed.explorer.close()


def test_a_subject_whose_parameters_are_others_by_now_is_told_from_it(saved):
    with pytest.raises(UserError, match="has other parameters or variants by now"):
        Reproducer.load(saved, [subject(STACK, parameters={"nodes": 5})])


def test_the_values_of_a_subject_are_its_state(tmp_path):
    (one,) = hunt(subject("embedded:Wrong"), {"how": 4}, runs=1, out=tmp_path).results
    replayed = replay(Reproducer.load(one.first.reproducer, [subject("embedded:Wrong")]), until=2)
    assert replayed.program.state(replayed.explorer, replayed.trace).splitlines()[1] == "  sum = 0"
    replayed.explorer.close()


# ---- the command line ------------------------------------------------------------------------------------------------


def test_every_verb_takes_a_subject(command):
    code, out, err = command("hunt", STACK, "--runs", 3000, "-p", "nodes=4")
    assert (code, err) == (0, "") and "duplicate-node" in out and "aba_stack:Stack (nodes=4)" in out
    (line,) = (line for line in out.splitlines() if line.startswith("Replay it: anonvma-rt "))
    assert line.endswith("--subject aba_stack:Stack")
    words = line.removeprefix("Replay it: anonvma-rt ").split()
    code, out, err = command(*words, "--times", 20)
    assert (code, err) == (0, "") and "reproduced 20 of 20 times" in out
    code, out, err = command(*words[:2])
    assert (code, out) == (2, "") and err.count("\n") == 1 and "--subject aba_stack:Stack" in err
    code, out, _ = command("verify", STACK, "--algorithm", "tagged", "--json")
    assert code == 0 and json.loads(out)["results"][0]["complete"] is True


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:Stack", "no_such_module cannot be imported: No module named 'no_such_module'"),
        ("aba_stack:Stak", "aba_stack has no Subject of that name (it has Stack)"),
        ("json:JSONDecoder", "json has no Subject of that name (it has none)"),
        ("unchecked:Silent", "put `from anonvma_rt.api cimport require_api` and `require_api(__name__)`"),
        ("version:Any", "version was built against version 1002 of the Cython API of anonvma_rt, and version 2 is "),
        ("layout:Any", "layout was built against another build of version 2 of the Cython API"),
        ("broken:Any", "broken cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_a_class_that_cannot_be_had_is_one_clear_line(command, name, says):
    (command.here / "broken.py").write_text("1 / 0\n")
    code, out, err = command("hunt", name, "--runs", 10)
    assert (code, out) == (2, "") and err.count("\n") == 1 and says in err


def test_nothing_in_a_file_makes_the_program_import(command):
    """A module that would tell, named in every place where a file has a name."""
    (command.here / "tell.py").write_text("open('imported', 'w').close()\n")
    scenario = (
        'name = "x"\nabout = "x"\n{}setup = [{{ do = "mmap", at = 4096, pages = 1 }}]\n'
        '[[thread]]\nname = "a"\nsteps = [{{ do = "touch", at = 4096, pages = 1 }}]\n{}'
    )
    texts = {
        "strategy.toml": scenario.format('strategy = "tell:Any"\n', ""),
        "expect.toml": scenario.format("", '[expect]\n"unpatched,rule=tell:Any" = "none"\n'),
        "subject.toml": 'subject = "tell:Any"\n',
    }
    for name, text in texts.items():
        (command.here / name).write_text(text)
        code, out, err = command("hunt", f"./{name}", "--runs", 10)
        assert (code, out) == (2, "") and err.count("\n") == 1 and "tell:Any" in err, name
    code, _, err = command("hunt", "tell:Any", "--runs", 10)
    assert code == 2 and (command.here / "imported").exists()  # the user's own word does


def test_a_name_is_not_imported_by_load(own):
    with pytest.raises(UserError, match="needs code of your own"):
        load("tell:Any")
    assert load(STACK, [subject(STACK)]).name == STACK


# ---- the documentation -----------------------------------------------------------------------------------------------


def test_the_subject_and_the_rule_of_the_documentation_work(command):
    code, out, _ = command("hunt", "counter:Counter", "--runs", 500, "--json")
    assert (code, json.loads(out)["results"][0]["violations"].keys()) == (1, {"lost-update"})
    code, out, _ = command("verify", "merge", "-p", "pages=1", "--algorithm", "unpatched,rule=mypatch:Mine", "--json")
    assert code == 0 and json.loads(out)["results"][0]["complete"]


def test_the_python_of_the_documentation_works(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = [text for text in documented("python") if "setup(" not in text]
    strategy, recording, tests, hypothesis = blocks
    names = {"__name__": "mine"}
    exec(strategy, names)
    (one,) = hunt("merge", algorithms=["unpatched"], runs=300, strategy=names["Walk"](6)).results
    assert one.executions == 300
    exec(recording, names)
    assert "stale-migration-entry" in capsys.readouterr().out
    exec(hypothesis, names)
    names["test_the_stack"]()
    (tmp_path / "test_it.py").write_text(tests)
    words = [sys.executable, "-m", "pytest", "-p", "pytest_anonvma_rt", "-p", "no:cacheprovider", "test_it.py"]
    environment = os.environ | {"PYTHONPATH": f"{Path(anonvma_rt.__file__).parents[1]}{os.pathsep}{own}"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 failed, 1 passed" in done.stdout and "counter:Counter under usual: lost-update" in done.stdout


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_belongs_to_the_code_that_was_searched(own, tmp_path, monkeypatch):
    import aba_stack
    import ordering_rule

    from anonvma_rt import Algorithm

    rule = Algorithm.parse("unpatched").with_rule(ordering_rule.UnderTheLock())
    asked = [(subject(STACK), ["tagged"], aba_stack), ("merge", [rule], ordering_rule)]
    for number, (scenario, algorithms, module) in enumerate(asked):
        values = {} if scenario != "merge" else {"pages": 1}
        options = {"parameters": values, "algorithms": algorithms, "checkpoint": tmp_path / f"{number}.json"}
        first = verify(scenario, **options)
        assert verify(scenario, **options).results[0].verdict == first.results[0].verdict
        monkeypatch.setattr(module, "__file__", __file__)
        with pytest.raises(UserError, match="belongs to another search: its code is"):
            verify(scenario, **options)


# ---- shrinking -------------------------------------------------------------------------------------------------------


def test_a_failing_execution_of_a_subject_is_shrunk(saved, command):
    small = shrink(saved, own=[subject(STACK)])
    assert small.after.switches == 2 and small.after.parameters == {"nodes": 2} and small.confirmed == small.replays
    with pytest.raises(UserError, match="needs code of your own"):
        shrink(saved)
    code, out, _ = command("shrink", saved, "--subject", STACK, "-o", command.here / "small.json")
    assert code == 0 and f"anonvma-rt replay {command.here / 'small.json'} --subject {STACK}" in out
    assert command("shrink", saved)[0] == 2


# ---- storm, show, step, campaign -------------------------------------------------------------------------------------


def test_a_storm_of_a_subject_finds_its_bug_at_full_speed_and_replays_it(tmp_path):
    result = storm(subject("embedded:Plain"), executions=30_000, out=tmp_path)
    (one,) = result.results
    assert list(one.violations) == ["lost-update"] and one.confirmed
    found = Reproducer.load(one.found[0].reproducer, [subject("embedded:Plain")])
    replayed = replay(found, times=3)
    replayed.explorer.close()
    assert replayed.reproduced == 3
    (fixed,) = storm(subject(STACK), algorithms=["tagged"], executions=3000).results
    assert fixed.violations == {}


def test_storm_show_and_step_on_the_command_line(saved, command):
    code, out, _ = command("storm", "embedded:Plain", "--seconds", "0.5", "--json")
    assert code == 1 and json.loads(out)["results"][0]["violations"].keys() == {"lost-update"}
    page, picture = command.here / "page.html", command.here / "picture.svg"
    assert command("show", saved)[0] == 2
    code, out, _ = command("show", saved, "--subject", STACK)
    assert code == 0 and "pops node 0" in out
    assert command("show", saved, "--subject", STACK, "--html", page, "--svg", picture)[0] == 0
    assert "owner of node 0" in page.read_text() and picture.stat().st_size > 0
    code, out, _ = command("show", saved, "--subject", STACK, "--dmesg")
    assert code == 0 and "duplicate-node" in out
    steps = subprocess.run(
        [sys.executable, "-m", "anonvma_rt", "step", saved, "--subject", STACK],
        input="step\nprint top\nprint world\nquit\n", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert steps.returncode == 0 and "top = " in steps.stdout and "owner of node 0 = " in steps.stdout, steps.stderr


def test_a_campaign_hunts_a_subject_only_where_the_user_says_so(command):
    pytest.importorskip("anonvma_rt.stress")
    (command.here / "mine.toml").write_text(
        f'campaign = "mine"\nexecutions = 3000\nrange = 1000\n[[cells]]\nscenarios = ["{STACK}"]\n'
    )
    run = ["campaign", "run", "./mine.toml", "--store", "mine.db", "--jobs", 1]
    code, out, err = command(*run)
    assert (code, out) == (2, "") and "needs code of your own" in err and not (command.here / "mine.db").exists()
    code, out, err = command(*run, "--subject", STACK, "--json")
    assert code == 0 and "duplicate-node" in out, err
    code, out, _ = command("campaign", "reproducers", "mine.db", "--out", "found", "--subject", STACK)
    (path,) = out.split()
    assert command("replay", path, "--subject", STACK)[0] == 0
    assert command("campaign", "reproducers", "mine.db", "--out", "found")[0] == 2
