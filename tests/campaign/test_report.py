"""Reports: verdicts, intervals, survival curves and the log-rank test, JUnit's XML, an HTML file without a network."""

import base64
import json
import re
from html.parser import HTMLParser
from itertools import permutations
from xml.etree import ElementTree

import pytest
from campaign_tools import SMALL, run, totals, write
from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.search.bounds import upper_bound_95

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

from anonvma_rt.stress.campaign.cell import Cell
from anonvma_rt.stress.campaign.file import read_campaign
from anonvma_rt.stress.campaign.store import Campaign, Store
from anonvma_rt.stress.campaign.totals import Done, Failed, Poisoned, Totals
from anonvma_rt.stress.report.html import html_report
from anonvma_rt.stress.report.junit import junit_report
from anonvma_rt.stress.report.report import Report, Row, interval_95, make_report
from anonvma_rt.stress.report.survival import Life, chi_square_tail, curve, log_rank, median

TWO_STRATEGIES = """
campaign = "two"
about = "two strategies look for one bug"
executions = 300
range = 100
stop = "first"
carrier = "fibers"
expect = "{expect}"
[[cells]]
scenarios = ["lkml-2011"]
algorithms = ["unpatched"]
strategies = ["surw", "random"]
seeds = {{ from = 0, count = 4 }}
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store for each of two expectations: of eight cells four find the bug, and random finds nothing."""
    folder = tmp_path_factory.mktemp("report")
    for expect, code in (("anything", 0), ("stale-migration-entry", 1)):
        file = write(folder / f"{expect}.toml", TWO_STRATEGIES.format(expect=expect))
        run("run", file, "--store", folder / f"{expect}.db", "--jobs", "1", expect=code)
    return folder


def report_of(folder, expect):
    with Store.open(str(folder / f"{expect}.db")) as store:
        return make_report(store)


class Tags(HTMLParser):
    """Every tag with its attributes, and whether tags are closed in order."""

    VOID = ("meta", "br", "line", "path")
    OPTIONAL = ("th", "td", "tr", "tbody", "thead")

    def __init__(self, text):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in (*self.VOID, *self.OPTIONAL):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.OPTIONAL:
            assert self.open.pop() == tag


def test_the_html_report_is_one_file_that_asks_no_network_and_runs_no_script(stores, tmp_path):
    out = tmp_path / "report.html"
    run("report", stores / "anything.db", "--html", out)
    text = out.read_text()
    tags = Tags(text)
    assert tags.open == []
    links = [value for _, attributes in tags.seen for name, value in attributes.items() if name in ("href", "src")]
    assert links and all(link.startswith("data:application/json;base64,") for link in links)
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in tags.seen}
    assert not re.search(r"url\(|@import|https?:", text)
    # A link is the reproducer itself.
    data = base64.b64decode(links[0].partition(",")[2])
    assert Reproducer.from_bytes(data, "link").kind == "stale-migration-entry"
    assert text.count("<svg") == 1 and "surw" in text and "Log-rank" in text


def test_junit_has_a_test_for_each_cell(stores, tmp_path):
    for expect, failures in (("anything", 0), ("stale-migration-entry", 4)):
        out = tmp_path / f"{expect}.xml"
        run("report", stores / f"{expect}.db", "--junit", out, expect=int(failures > 0))
        suites = ElementTree.parse(out).getroot()
        (suite,) = suites
        assert suite.tag == "testsuite" and suite.get("tests") == "8" and suite.get("failures") == str(failures)
        cases = suite.findall("testcase")
        assert len({(case.get("classname"), case.get("name")) for case in cases}) == 8
        failed = [case for case in cases if case.find("failure") is not None]
        assert len(failed) == failures and all("random" in case.get("name") for case in failed)
        for case in failed:
            assert "expected stale-migration-entry, found none in 300 executions" in case.find("failure").get("message")
        found = [case.findtext("system-out") for case in cases if "surw" in case.get("name")]
        assert all("the first reproducer" in text for text in found)


def test_a_report_says_when_and_how_often(stores):
    report = report_of(stores, "anything")
    (comparison,) = report.comparisons
    told = comparison.as_dict()["strategies"]
    assert (told["surw"]["found"], told["random"]["found"]) == (4, 0)
    assert told["random"]["median_executions"] is None and told["surw"]["median_executions"] < 10
    assert comparison.test.p < 0.05
    json.dumps(report.as_dict())
    for row in report.rows:
        low, high = row.as_dict()["interval_95"]
        assert low <= row.totals.found / row.totals.executions <= high
        assert high <= 1 and row.verdict == "measured"


def hostile_report(text):
    """A report in which everything that comes from a store is `text`."""
    cell = Cell(0, text, "", {text: 1}, text, text, "fibers", text, 10, None, 5, "all", None, text, True, 1.0)
    totals = Totals(cell)
    result = {
        "executions": 5, "benign_misses": 0, "points": 0, "switches": 0, "seconds": 0.0, "violations": {text: 1},
        "schedules_sha256": "00", "first": {"index": 3, "kind": text},
    }  # fmt: skip
    totals.add(Done(result, [3], text))
    totals.add(Failed(text))
    return Report(Campaign(text, text, text, text, (), text, 0.0), [Row(totals, "failed")], [])


@given(st.text(min_size=1, max_size=30))
def test_no_text_of_a_store_becomes_markup(text):
    nasty = f"<script>alert(1)</script>\"'&]]><!--{text}"
    report = hostile_report(nasty)
    page = html_report(report)
    assert "Content-Security-Policy" in page and "<script>alert" not in page
    tags = Tags(page)
    assert "script" not in {tag for tag, _ in tags.seen} and tags.open == []
    ElementTree.fromstring(junit_report(report))


def cell(**changed):
    fields = {
        "number": 0, "scenario": "s", "sha256": "", "parameters": {}, "algorithm": "a", "strategy": "pct",
        "carrier": "fibers", "seed": 0, "executions": 20, "seconds": None, "range_size": 5, "stop": "all",
        "bound": None, "expected": "none", "judged": True, "timeout": 1.0,
    }  # fmt: skip
    return Cell(**(fields | changed))


def range_of(violations=0, first=None, sha="ab"):
    result = {
        "executions": 5, "benign_misses": 1, "points": 2, "switches": 3, "seconds": 0.5, "schedules_sha256": sha,
        "violations": {"bug-on": violations} if violations else {},
        "first": None if first is None else {"index": first, "kind": "bug-on"}, "a_new_field": {"of": "a hunt"},
    }  # fmt: skip
    return Done(result, [] if first is None else [first], None)


def test_totals_add_up_in_order_and_know_when_to_end():
    totals = Totals(cell())
    for number in range(4):
        assert totals.ended is None
        totals.add(range_of(violations=number == 2, first=12 if number == 2 else None))
    assert (totals.ended, totals.executions, dict(totals.violations)) == ("all", 20, {"bug-on": 1})
    assert totals.first == (12, "bug-on") and totals.indices == [12]
    assert not totals.as_expected


def test_a_cell_may_still_come_out_as_expected_until_it_ends():
    for expected, violations, still, ended in (
        ("none", 0, True, True),
        ("none", 1, False, False),
        ("bug-on", 0, True, False),
        ("bug-on", 1, True, True),
        ("deadlock", 1, False, False),
    ):
        totals = Totals(cell(expected=expected))
        for _ in range(3):
            totals.add(range_of(violations))
        assert totals.as_expected is still
        totals.add(range_of(violations))
        assert totals.as_expected is ended


def test_what_was_another_on_threads_than_on_fibers_is_never_as_expected():
    for confirmed, good in ((4, True), (3, False)):
        totals = Totals(cell(expected="bug-on", executions=5))
        done = range_of(4, first=0)
        made = {"on": "threads", "tried": 4, "confirmed": confirmed, "disagreements": []}
        totals.add(Done({**done.result, "confirmed": made}, done.indices, None))
        assert totals.as_expected is good and totals.ended == "all"
        problem = Row(totals, "as expected" if good else "NOT AS EXPECTED").problem
        said = "a bug of the lab: 1 of 4 violations were others on threads than on fibers"
        assert problem == (None if good else said)


def test_poisoned_ranges_are_no_executions_and_three_end_a_cell():
    totals = Totals(cell())
    for _ in range(3):
        totals.add(Poisoned("SIGSEGV"))
    assert (totals.ended, totals.executions, len(totals.poisoned)) == ("poisoned", 0, 3)


def test_the_hash_of_a_cell_depends_on_every_range_and_on_their_order():
    digests = set()
    for order in (("aa", "bb", "cc"), ("aa", "cc", "bb"), ("aa", "bb"), ("aa", "bb", "cd")):
        totals = Totals(cell())
        for sha in order:
            totals.add(range_of(sha=sha))
        digests.add(totals.ranges_sha256)
    assert len(digests) == 4


def test_intervals_hold_what_they_are_about():
    assert interval_95(0, 0)[:2] == (0.0, 1.0)
    for hits, trials in ((0, 10), (1, 10), (5, 10), (10, 10), (3, 100_000), (99_999, 100_000)):
        low, high, _ = interval_95(hits, trials)
        assert 0 <= low <= hits / trials <= high <= 1
        assert (low == 0) == (hits == 0) and (high == 1) == (hits == trials)


def test_intervals_are_exact_where_scipy_is(monkeypatch):
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed (the extra `stats`)")
    for hits, trials in ((0, 50), (1, 50), (25, 50), (50, 50)):
        low, high, method = interval_95(hits, trials)
        exact = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
        assert method == "exact" and (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)
        monkeypatch.setitem(__import__("sys").modules, "scipy.stats", None)
        wilson_low, wilson_high, method = interval_95(hits, trials)
        wilson = stats.binomtest(hits, trials).proportion_ci(0.95, "wilson")
        assert method == "wilson" and (wilson_low, wilson_high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
        monkeypatch.undo()


# The remission times of Freireich and others (Blood 1963), the textbook example of the test.
TREATED = [Life(n, True) for n in (6, 6, 6, 7, 10, 13, 16, 22, 23)]
TREATED += [Life(n, False) for n in (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)]
CONTROL = [Life(n, True) for n in (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)]


def test_the_textbook_example_of_survival():
    assert [round(share, 4) for _, share in curve(TREATED)] == [
        1.0, 0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482,
    ]  # fmt: skip
    assert (median(TREATED), median(CONTROL)) == (23, 8)
    test = log_rank({"treated": TREATED, "control": CONTROL})
    assert (round(test.statistic, 2), test.freedom) == (16.79, 1) and test.p < 1e-4


lives = st.lists(st.builds(Life, st.integers(1, 30), st.booleans()), max_size=12)


@given(st.dictionaries(st.sampled_from("abcd"), lives, max_size=4), st.randoms())
def test_the_log_rank_test_does_not_care_for_names_or_order(groups, rng):
    test = log_rank(groups)
    if test is None:
        return
    assert test.statistic >= 0 and 0 <= test.p <= 1 and 1 <= test.freedom < len(groups)
    names = list(groups)
    rng.shuffle(names)
    other = log_rank({name: rng.sample(groups[name], len(groups[name])) for name in names})
    assert other.freedom == test.freedom and other.statistic == pytest.approx(test.statistic, abs=1e-6)


def test_a_group_that_is_never_at_risk_with_another_has_nothing_to_say_wherever_it_stands():
    groups = {"b": [Life(2, False)], "c": [Life(1, False)], "d": [Life(2, True)]}
    told = [log_rank(dict(order)) for order in permutations(groups.items())]
    assert {(round(test.statistic, 9), test.freedom) for test in told} == {(1.0, 1)}


def test_equal_groups_do_not_differ():
    test = log_rank({"a": TREATED, "b": TREATED, "c": TREATED})
    assert test.statistic == pytest.approx(0, abs=1e-9) and test.p == pytest.approx(1)
    assert log_rank({"a": TREATED}) is None and log_rank({"a": [Life(3, False)], "b": [Life(5, False)]}) is None


@given(lives, lives)
def test_the_log_rank_test_is_that_of_scipy(a, b):
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed (the extra `stats`)")
    test = log_rank({"a": a, "b": b})
    if test is None:
        return

    def data(group):
        return stats.CensoredData(
            uncensored=[life.executions for life in group if life.found],
            right=[life.executions for life in group if not life.found],
        )

    theirs = stats.logrank(data(a), data(b))
    assert theirs.statistic**2 == pytest.approx(test.statistic, abs=1e-9)
    assert theirs.pvalue == pytest.approx(test.p, abs=1e-9)


@pytest.mark.parametrize(
    "x, freedom, tail", [(3.841459, 1, 0.05), (5.991465, 2, 0.05), (7.814728, 3, 0.05), (18.30704, 10, 0.05), (0, 4, 1)]
)
def test_the_tail_of_chi_square_is_that_of_the_tables(x, freedom, tail):
    assert chi_square_tail(x, freedom) == pytest.approx(tail, abs=1e-6)


def test_a_campaign_that_says_nothing_about_itself_can_be_reported(tmp_path):
    text = 'campaign = "x"\n[[cells]]\nscenarios = ["sb"]\n'
    with Store.create(str(tmp_path / "x.db"), read_campaign(text, "x.toml")) as store:
        report = make_report(store)
        assert not report.finished and not report.as_expected and report.rows[0].verdict == "unfinished"
        assert ElementTree.fromstring(junit_report(report))[0].get("skipped") == "1"
        html_report(report)


def test_the_bound_of_a_strategy_that_learns_has_an_epoch_as_its_trial(tmp_path):
    text = SMALL.replace('strategies = ["pct", "sticky"]', 'strategies = ["pct", "guided"]').replace("[0, 1]", "[0]")
    run("run", write(tmp_path / "small.toml", text), "--store", tmp_path / "store.db", "--jobs", "1")
    bounds = {
        c["strategy"]: c["upper_bound_95"] for c in totals(tmp_path / "store.db") if c["algorithm"] != "unpatched"
    }
    assert bounds == {"pct": upper_bound_95(0, 600), "guided": upper_bound_95(0, 600, 256)}
    assert bounds["guided"] > 0.9 > bounds["pct"]
