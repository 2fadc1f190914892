"""Litmus files in herd's formats: what each construct does, one line for what is not understood, and classic tests."""

import pytest

from anonvma_rt.cli import main
from anonvma_rt.errors import ScenarioError
from anonvma_rt.lab.load import described_by
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.search.verify import verify


def test_of(threads, condition, state="", result=""):
    """A litmus file in C with these bodies; each thread knows x, y, z, the lock l and the domain s."""
    shared = "int *x, int *y, int *z, spinlock_t *l, struct srcu_struct *s, atomic_t *a, int **p"
    told = f"(* Result: {result} *)\n" if result else ""
    bodies = "".join(f"P{at}({shared})\n{{\n{body}\n}}\n" for at, body in enumerate(threads))
    return Litmus.from_text(f"C made\n{told}{{ {state} }}\n{bodies}{condition}\n", "made.litmus")


test_of.__test__ = False


def kinds(litmus, memory="sc", **values):
    found = verify(litmus, values, memory=memory).results[0]
    assert found.complete or found.violating_classes
    return set(found.violating_classes)


REACHED, NOT = {"assertion"}, set()


@pytest.mark.parametrize(
    ("body", "condition"),
    [
        ("WRITE_ONCE(*x, 3); int r = READ_ONCE(*x);", "0:r=3"),
        ("smp_store_release(x, 3); int r = smp_load_acquire(x);", "0:r=3"),
        ("smp_store_mb(*x, 2); smp_mb(); smp_rmb(); smp_wmb(); smp_mb__before_atomic();", "x=2"),
        ("rcu_assign_pointer(*p, y); int *r = rcu_dereference(*p); WRITE_ONCE(*r, 7);", "0:r=y /\\ y=7 /\\ p=&y"),
        ("int r = xchg_release(x, 4); int q = xchg(x, 5);", "0:r=0 /\\ 0:q=4 /\\ x=5"),
        ("int r = cmpxchg_acquire(x, 0, 4); int q = cmpxchg(x, 0, 5);", "0:r=0 /\\ 0:q=4 /\\ x=4"),
        ("atomic_set(a, 5); atomic_add(2, a); atomic_sub(1, a); atomic_inc(a); atomic_dec(a);", "a=6"),
        ("int r = atomic_add_return(2, a); int q = atomic_fetch_add_relaxed(3, a);", "0:r=2 /\\ 0:q=2 /\\ a=5"),
        ("int r = atomic_inc_and_test(a); int q = atomic_dec_and_test(a);", "0:r=0 /\\ 0:q=1"),
        ("int r = atomic_add_unless(a, 1, 0); int q = atomic_inc_not_zero(a);", "0:r=0 /\\ 0:q=0 /\\ a=0"),
        ("atomic_or(6, a); atomic_and(3, a); int r = atomic_fetch_xor(1, a);", "0:r=2 /\\ a=3"),
        ("int r = spin_trylock(l); int q = spin_is_locked(l); spin_unlock(l);", "0:r=1 /\\ 0:q=1"),
        ("int r = srcu_read_lock(s); srcu_read_unlock(s, r); synchronize_srcu(s); WRITE_ONCE(*x, 1);", "x=1"),
        ("rcu_read_lock(); rcu_read_unlock(); synchronize_rcu(); WRITE_ONCE(*x, 1);", "x=1"),
        ("int r = 2; if (r == 2 && READ_ONCE(*x) == 0) { r = 5; } else r = 6;", "0:r=5"),
        ("int r = 0; for (int i = 0; i < 3; i++) r += i;", "0:r=3"),
        ("int r = 7; do { r--; if (r == 5) break; } while (1);", "0:r=5"),
        ("int r = (1 + 2) * 3 % 4 - (8 >> 1) | 1; int q = !r; int n = ~0;", "0:r=-3 /\\ 0:q=0 /\\ 0:n=-1"),
        ("int r = 2147483647; r = r + 1;", "0:r=-2147483648"),
        ("*x = 4; int r = *x;", "0:r=4"),
    ],
)
def test_what_a_construct_does(body, condition):
    assert kinds(test_of([body], f"exists ({condition})")) == REACHED
    assert kinds(test_of([body], f"forall ({condition})")) == NOT
    assert kinds(test_of([body], f"exists (~({condition}))")) == NOT


def test_the_initial_state_has_types_arrays_and_addresses():
    text = """C arrays
    { int t[3] = {5, 6, 7}; int *q = &t; int 0:r9 = 4; atomic_t a = ATOMIC_INIT(8); }
    P0(int *t, int **q, atomic_t *a) {
        int r0 = READ_ONCE(t[1]); int i = 2; int r1 = READ_ONCE(t[i]); int *r2 = READ_ONCE(*q); int r3 = READ_ONCE(*r2);
    }
    exists (0:r0=6 /\\ 0:r1=7 /\\ 0:r3=5 /\\ 0:r9=4 /\\ t[2]=7)
    """
    assert kinds(Litmus.from_text(text, "x.litmus")) == REACHED
    assert kinds(Litmus.from_text(text.replace("int i = 2", "int i = 3"), "x.litmus")) == {"bad-pointer"}


def test_an_address_survives_in_an_int():
    assert (
        kinds(test_of(["int r = (int)rcu_dereference(*p); WRITE_ONCE(*r, 2);"], "exists (0:r=x /\\ x=2)", "p=x;"))
        == REACHED
    )


def test_a_filter_leaves_states_out():
    bodies = ["int r = READ_ONCE(*x);", "WRITE_ONCE(*x, 1);"]
    assert kinds(test_of(bodies, "exists (0:r=1)")) == REACHED
    assert kinds(test_of(bodies, "filter (0:r=0) exists (0:r=1)")) == NOT


def test_a_loop_that_only_looks_has_no_bound_and_any_other_one_says_that_it_has():
    waits = ["while (READ_ONCE(*x) == 0) ; int r = READ_ONCE(*y);", "WRITE_ONCE(*y, 1); smp_store_release(x, 1);"]
    assert kinds(test_of(waits, "exists (0:r=0)")) == NOT
    assert not test_of(waits, "exists (0:r=0)").parameters
    counts = test_of(["int i = 0; while (i < 5) { i++; }"], "exists (0:i=4)")
    assert kinds(counts) == {"loop-bound"}
    assert kinds(counts, unroll=5) == NOT


def test_a_data_race_is_told():
    assert kinds(test_of(["*x = 1;", "int r = READ_ONCE(*x);"], "exists (0:r=7)")) == {"data-race"}
    locked = "spin_lock(l); *x = 1; spin_unlock(l);"
    assert kinds(test_of([locked, locked], "exists (x=7)")) == NOT


WRITE, READ, MB = "WRITE_ONCE(*{}, {});", "r{} = READ_ONCE(*{});", "smp_mb();"
SB = [f"{WRITE.format('x', 1)} {{}} {READ.format(0, 'y')}", f"{WRITE.format('y', 1)} {{}} {READ.format(0, 'x')}"]
CLASSICS = {
    "SB": (SB, "0:r0=0 /\\ 1:r0=0", {"tso", "pso"}),
    "MP": (["WRITE_ONCE(*x,1); WRITE_ONCE(*y,1);", "r0=READ_ONCE(*y); r1=READ_ONCE(*x);"], "1:r0=1 /\\ 1:r1=0",
           {"pso"}),
    "LB": (["r0=READ_ONCE(*x); WRITE_ONCE(*y,1);", "r0=READ_ONCE(*y); WRITE_ONCE(*x,1);"], "0:r0=1 /\\ 1:r0=1", set()),
    "2+2W": (["WRITE_ONCE(*x,1); WRITE_ONCE(*y,2);", "WRITE_ONCE(*y,1); WRITE_ONCE(*x,2);"], "x=1 /\\ y=1", {"pso"}),
    "R": (["WRITE_ONCE(*x,1); WRITE_ONCE(*y,1);", "WRITE_ONCE(*y,2); r0=READ_ONCE(*x);"], "y=2 /\\ 1:r0=0",
          {"tso", "pso"}),
    "S": (["WRITE_ONCE(*x,2); WRITE_ONCE(*y,1);", "r0=READ_ONCE(*y); WRITE_ONCE(*x,1);"], "x=2 /\\ 1:r0=1", {"pso"}),
    "IRIW": (["WRITE_ONCE(*x,1);", "WRITE_ONCE(*y,1);", "r0=READ_ONCE(*x); r1=READ_ONCE(*y);",
              "r0=READ_ONCE(*y); r1=READ_ONCE(*x);"], "2:r0=1 /\\ 2:r1=0 /\\ 3:r0=1 /\\ 3:r1=0", set()),
    "WRC": (["WRITE_ONCE(*x,1);", "r0=READ_ONCE(*x); WRITE_ONCE(*y,1);", "r0=READ_ONCE(*y); r1=READ_ONCE(*x);"],
            "1:r0=1 /\\ 2:r0=1 /\\ 2:r1=0", set()),
}  # fmt: skip


@pytest.mark.parametrize("memory", ["sc", "tso", "pso"])
@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_is_reached_where_its_model_has_it(name, memory):
    bodies, condition, models = CLASSICS[name]
    bodies = [body.replace("{}", "") for body in bodies]
    assert kinds(test_of(bodies, f"exists ({condition})"), memory) == (REACHED if memory in models else NOT)


@pytest.mark.parametrize("memory", ["tso", "pso"])
def test_a_fence_forbids_store_buffering(memory):
    fenced = [body.format("smp_mb();") for body in SB]
    assert kinds(test_of(fenced, "exists (0:r0=0 /\\ 1:r0=0)"), memory) == NOT


X86 = """X86 SB
{{ x=0; }}
 P0         | P1         ;
 MOV [x],$1 | MOV [y],$1 ;
 {0}     | {0}     ;
 MOV EAX,[y] | MOV EAX,[x] ;
exists (0:EAX=0 /\\ 1:EAX=0)
"""


def test_tables_of_x86():
    assert kinds(Litmus.from_text(X86.format("NOP"), "x.litmus")) == NOT
    assert kinds(Litmus.from_text(X86.format("NOP"), "x.litmus"), "tso") == REACHED
    assert kinds(Litmus.from_text(X86.format("MFENCE"), "x.litmus"), "tso") == NOT
    counts = """X86_64 inc
    { 0:rbx=1; }
     P0                | P1          ;
     lock incl (x)     | L:          ;
     movl $2,%ecx      | movl (x),%eax ;
     xaddl %ecx,(y)    | cmp $0,%eax ;
     xchg %rbx,%rdx    | je L        ;
    exists (1:rax=1 /\\ x=1 /\\ y=2 /\\ 0:rcx=0 /\\ 0:rdx=1)
    """
    assert "assertion" in kinds(Litmus.from_text(counts, "x.litmus"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PPC x\n{}\nexists (x=1)", r"line 1: the architecture PPC is not understood"),
        ("C x\n{}\nP0(int *x) { do_it(x); }\nexists (x=1)", r"line 3: P0: do_it\(\) is not understood"),
        ("C x\n{}\nP0(int *x)\n{\n goto out; }\nexists (x=1)", r"line 5: P0: goto is not understood"),
        ("C x\n{}\nP0(int *x) { r0 = q; }\nexists (x=1)", r"line 3: P0: q is no parameter"),
        ("C x\n{}\nP0(int *x) { x = 1; }\nexists (x=1)", r"line 3: P0: x is a pointer"),
        ("C x\n{}\nP0(int *x) { WRITE_ONCE(*x); }\nexists (x=1)", r"line 3: P0: WRITE_ONCE takes 2 arguments, not 1"),
        ("C x\n{}\nP0(int *x) { r0 = x->next; }\nexists (x=1)", r"line 3: P0: members of structures"),
        ("C x\n{}\nP0(int *x) { }\nexists (y=1)", r"line 4: y is no shared variable"),
        ("C x\n{}\nP0(int *x) { }\nexists (3:r0=1)", r"line 4: 3:r0: there is no thread P3"),
        ("C x\n{}\nP0(int *x) { }\nexists (x=1) more", r"line 4: exists: more behind"),
        ("C x\n{}\nP0(int *x) { /* }\nexists (x=1)", r"line 3: the comment that begins here has no end"),
        ("C x\n{ x=$; }\nP0(int *x) { }\nexists (x=1)", r"line 2: the initial state: a number is needed"),
        ("C x\n{}\nP1(int *x) { }\nexists (x=1)", r"line 3: P1 comes behind 0 threads"),
        ("C x\nexists (x=1)", r"line 2: there is no initial state"),
        ("X86 x\n{}\n P0 ;\n FNORD ;\nexists (x=1)", r"line 4: P0: the instruction fnord is not understood"),
        ("X86 x\n{}\n P0 ;\n MOV EAX ;\nexists (x=1)", r"line 4: P0: mov takes 2 operands, not 1"),
        ("X86 x\n{}\n P0 ;\n JMP L ;\nexists (x=1)", r"line 4: P0: jmp to l, which is no label"),
    ],
)  # fmt: skip
def test_one_line_for_what_is_not_understood(text, said):
    with pytest.raises(ScenarioError, match=rf"^x\.litmus: {said}") as error:
        Litmus.from_text(text, "x.litmus").bind({})
    assert "\n" not in str(error.value)


def test_what_the_file_says_is_told_beside_the_verdict():
    bodies = [body.format("") for body in SB]
    for said, memory, remark in (
        ("Sometimes", "sc", "so this is no contradiction"),
        ("Sometimes", "tso", "the two agree"),
        ("Never", "sc", "the two agree"),
        ("Never", "tso", "A CONTRADICTION"),
    ):
        litmus = test_of(bodies, "exists (0:r0=0 /\\ 1:r0=0)", result=said)
        found = kinds(litmus, memory)
        assert remark in litmus.remark(found, True, memory)
    for said, right in (("Never", True), ("Sometimes", True), ("Always", False)):
        assert verify(test_of(bodies, "exists (0:r0=0 /\\ 1:r0=0)", result=said)).as_expected == right


def test_a_reproducer_keeps_the_text_of_the_file(tmp_path):
    litmus = test_of([body.format("") for body in SB], "exists (0:r0=0 /\\ 1:r0=0)")
    path = verify(litmus, memory="tso", out=tmp_path).results[0].first.reproducer
    assert path is not None
    assert described_by(litmus.text, "again").expect == litmus.expect


@pytest.mark.parametrize(
    ("memory", "says"),
    [
        ("sc", "none under SC: SC is stronger than the kernel's model, so this is no contradiction"),
        ("tso", "reached under TSO: the two agree"),
    ],
)
def test_what_the_file_says_stands_beside_the_verdict(memory, says, tmp_path, capsys):
    path = tmp_path / "sb.litmus"
    path.write_text(
        "C SB\n(* Result: Sometimes *)\n{}\n"
        "P0(int *x, int *y) { int r0; WRITE_ONCE(*x, 1); r0 = READ_ONCE(*y); }\n"
        "P1(int *x, int *y) { int r0; WRITE_ONCE(*y, 1); r0 = READ_ONCE(*x); }\n"
        "exists (0:r0=0 /\\ 1:r0=0)\n"
    )
    assert verify(str(path), memory=memory).results[0].remark == f"the file says Sometimes; {says}"
    main(["verify", str(path), "--memory", memory, "--out", str(tmp_path)])
    assert f"the file says Sometimes; {says}" in capsys.readouterr().out


def test_a_remark_says_nothing_of_a_state_that_was_not_searched_for_to_the_end():
    """A data race ends executions; what the file says of x86 speaks of TSO, to which PSO is no stronger model."""
    races = test_of(["*x = 1;", "int r = READ_ONCE(*x);"], "exists (1:r=7)", result="Never")
    assert races.remark(["data-race"], False, "sc").endswith("so this says nothing of it")
    table = "{ }\n P0 | P1 ;\n MOV [x],$1 | MOV EAX,[y] ;\n MOV [y],$1 | MOV EBX,[x] ;\nexists (1:EAX=1 /\\ 1:EBX=0)\n"
    passing = Litmus.from_text(f"X86 MP\n(* Result: Never *)\n{table}", "mp.litmus")
    for memory, says in (("tso", "the two agree"), ("pso", "PSO is weaker than x86's model, so nothing follows")):
        one = verify(passing, memory=memory).results[0]
        assert one.remark.endswith(says)
    assert one.violating_classes == {"assertion": 1}
    sometimes = Litmus.from_text(f"X86 MP\n(* Result: Sometimes *)\n{table}", "mp.litmus")
    assert verify(sometimes, memory="tso").results[0].remark.endswith("A CONTRADICTION")
    assert verify(sometimes).results[0].remark.endswith("so this is no contradiction")
