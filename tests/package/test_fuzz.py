"""Whatever stands in a file, the answer is an answer or one line: thousands of files made wrong at random.

Each input is a pure function of its corpus and its number, which a failure names: `try_one(corpus, number)` makes it
again. With -m long a million of them.
"""

import hashlib
import json
import random
import shutil
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import mutate
import pytest
from resealed import sealed

from anonvma_rt.errors import LONGEST_LINE, UserError
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.lab.load import described_by
from anonvma_rt.search import exhaust
from anonvma_rt.search.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"
SHORT = 50_000  # steps: what takes longer is read and not executed


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """What the corpora begin with."""
    return Made(tmp_path_factory.mktemp("fuzz"))


class Made:
    def __init__(self, folder):
        self.folder = folder
        self.reproducers = [path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))]
        package = resources.files("anonvma_rt")
        self.texts = [
            entry.read_bytes()
            for name in ("scenarios", "litmus_tests")
            for entry in sorted((package / name).iterdir(), key=lambda entry: entry.name)
        ]
        file = folder / "search.json"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exhaust, "ALONE", 16)
            verify("order", {"pages": 3}, ["patched"], jobs=2, limit=60, checkpoint=file)
        self.checkpoint = file.read_bytes()
        self._store = None

    @property
    def store(self):
        """A finished store of a campaign that is as small as one can be."""
        if self._store is None:
            from concurrent.futures import ThreadPoolExecutor

            from anonvma_rt.stress.campaign.executors import Crew
            from anonvma_rt.stress.campaign.file import read_campaign
            from anonvma_rt.stress.campaign.run import run_campaign
            from anonvma_rt.stress.campaign.store import Store

            text = (
                'campaign = "small"\nexecutions = 60\nrange = 30\ncarrier = "fibers"\n[[cells]]\n'
                'scenarios = ["lock-order", "sb"]\nstrategies = ["pct", "random"]\n'
            )
            path = self.folder / "store.db"
            with Store.create(str(path), read_campaign(text, "small.toml")) as store:
                assert run_campaign(store, Crew(lambda: ThreadPoolExecutor(1), lambda _: 2))
            self._store = path
        return self._store


def of_json(rng, data):
    """Half of them with another value and the right checksum, half with other bytes."""
    if rng.random() < 0.4:
        return mutate.of_bytes(rng, data)
    body = mutate.of_values(rng, json.loads(data))
    inside = body.get("scenario")
    if isinstance(inside, dict) and isinstance(inside.get("text"), str):
        inside["sha256"] = hashlib.sha256(inside["text"].encode("utf-8", "replace")).hexdigest()
    try:
        return sealed(body).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 1000


def reproducer(made, rng):
    read = Reproducer.from_bytes(of_json(rng, rng.choice(made.reproducers)), "fuzz.json")
    read.name()
    if read.bound <= SHORT and read.steps <= SHORT:
        replay(read).explorer.close()


def checkpoint(made, rng):
    file = made.folder / "fuzzed.json"
    file.write_bytes(of_json(rng, made.checkpoint))
    verify("order", {"pages": 3}, ["patched"], limit=100, checkpoint=file).as_dict()


def text(made, rng):
    data = mutate.of_bytes(rng, rng.choice(made.texts))
    described = described_by(data.decode("utf-8", "replace"), "fuzz.toml")
    described.bind({})


def campaign(made, rng):
    from anonvma_rt.stress.campaign.file import read_campaign, shipped, text_of

    data = mutate.of_bytes(rng, text_of(rng.choice(shipped()))[0].encode())
    read_campaign(data.decode("utf-8", "replace"), "fuzz.toml", ("unpatched",))


def store(made, rng):
    from anonvma_rt.stress.campaign.store import Store, Survey
    from anonvma_rt.stress.report.html import html_report
    from anonvma_rt.stress.report.junit import junit_report
    from anonvma_rt.stress.report.report import make_report, text_report

    path = Path(shutil.copy(made.store, made.folder / "fuzzed.db"))
    if rng.random() < 0.3:
        path.write_bytes(mutate.of_bytes(rng, path.read_bytes()))
    else:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            change_row(database, rng)
    with Store.open(str(path)) as opened:
        Survey().look(opened)
        report = make_report(opened)
        text_report(report)
        json.dumps(report.as_dict())
        html_report(report).encode()
        junit_report(report)
        opened.texts()


def change_row(database, rng):
    """Another value in a row, and the seal made again."""
    from anonvma_rt.stress.campaign.database import seal

    table = rng.choice(("cell", "range", "campaign"))
    if table == "campaign":
        column = rng.choice(("name", "about", "source", "text", "asked", "made_by", "created"))
        value = rng.choice([one for one in mutate.VALUES if isinstance(one, str | float)])
        value = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        if isinstance(value, float) != (column == "created") or value != value:
            value = 1e18 if column == "created" else "\x1b[2J"
        database.execute(f"update campaign set {column} = ?", (value,))
        return
    payload = "spec" if table == "cell" else "payload"
    keys = "number" if table == "cell" else "cell, number, state"
    *key, before = rng.choice(database.execute(f"select {keys}, {payload} from {table}").fetchall())
    try:
        after = json.dumps(mutate.of_values(rng, json.loads(before)))
    except RecursionError:
        after = "[" * 1000
    where = " and ".join(f"{name} = ?" for name in keys.split(", "))
    database.execute(f"update {table} set {payload} = ?, seal = ? where {where}", (after, seal(*key, after), *key))


CORPORA = {"reproducer": 500, "checkpoint": 400, "text": 600, "campaign": 200, "store": 300}


def try_one(corpus, number, made):
    """Whether the input was refused, in one line. Raises whatever else comes of it."""
    try:
        globals()[corpus](made, random.Random(f"{corpus} {number}"))
    except UserError as error:
        said = str(error)
        assert said and said.isprintable() and len(said) <= LONGEST_LINE
        return True
    return False


def try_all(corpus, numbers, made):
    if corpus in ("campaign", "store"):
        pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")
    if corpus == "store":
        assert made.store.exists()
    refused = 0
    for number in numbers:
        try:
            refused += try_one(corpus, number, made)
        except BaseException as error:
            error.add_note(f"input {number} of the corpus {corpus!r}")
            raise
    assert len(numbers) // 3 < refused < len(numbers)  # they are wrong indeed, but not beyond what can be read


@pytest.mark.parametrize("corpus", CORPORA)
def test_two_thousand_wrong_files(corpus, made):
    assert sum(CORPORA.values()) == 2000
    try_all(corpus, range(CORPORA[corpus]), made)


@pytest.mark.long
@pytest.mark.parametrize("corpus", CORPORA)
def test_a_million_wrong_files(corpus, made):
    try_all(corpus, range(500 * CORPORA[corpus]), made)
