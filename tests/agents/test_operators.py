"""What the catalogue offers on a file applies to it, gives valid Python, and touches nothing else."""

import ast
import difflib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.agents import operators
from ratchetree.agents.dead_code import folded
from ratchetree.agents.knobs import find_knobs, parse_set, set_brief
from ratchetree.agents.operators import OPERATORS, VERBS
from ratchetree.agents.operators.constants import company_of, numbers
from ratchetree.agents.proposal import NotApplicable
from ratchetree.agents.source import parse
from ratchetree.search.model import Patch, SourceFile
from ratchetree.search.patch import apply_patch, edits_between

MODEL = """\
import math
import torch
import torch.nn.functional as F
from torch import nn


"""


def applied(text: str, brief: str) -> str:
    """The new text; the test fails if the brief does not apply."""
    new = operators.apply(text, brief)
    assert isinstance(new, str), new
    return new


def changed(before: str, after: str) -> list[str]:
    """Lines taken away (-) and put in (+)."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in diff if line[:2] not in ("--", "++", "@@")]


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_fits_some_script_and_says_why_it_does_not_fit_another(name, script):
    fits = [operators.explain(script(s))[name] for s in ("seed", "speedrun_style", "config_style")]
    assert any(isinstance(outcome, int) and outcome > 0 for outcome in fits)
    reason = operators.explain(script("nothing_known"))[name]
    assert isinstance(reason, str)
    assert reason
    assert "\n" not in reason


def test_every_proposal_applies_parses_and_changes_the_file(text):
    for proposal in operators.proposals(text):
        new = applied(text, proposal.brief)
        ast.parse(new)
        assert new != text, proposal.brief


def test_edits_of_every_proposal_lead_to_exactly_the_new_text(text):
    sources = (SourceFile(path="train.py", text=text),)
    for proposal in operators.proposals(text):
        new = applied(text, proposal.brief)
        patch = Patch(edits=edits_between("train.py", text, new))
        assert apply_patch(sources, patch, editable=["train.py"]) == (SourceFile(path="train.py", text=new),)


def test_every_proposal_reads_well_and_has_a_brief_of_its_own(text):
    proposals = operators.proposals(text)
    assert len({p.brief for p in proposals}) == len(proposals)
    for p in proposals:
        assert "\n" not in p.brief + p.title + p.hypothesis + p.mechanism
        assert p.brief.partition(" ")[0] in VERBS
        assert 0 < len(p.title) <= 90
        assert p.hypothesis
        assert p.mechanism
        assert p.category.isidentifier()
        assert p.weight > 0


def test_a_constant_changes_one_literal_and_nothing_else_in_the_file(text):
    file = parse(text)
    for proposal in OPERATORS["constants"].proposals(file):
        (address,) = parse_set(proposal.brief)
        start, end = find_knobs(file)[address].span
        new = applied(text, proposal.brief).encode()
        assert new.startswith(file.data[:start])
        assert new.endswith(file.data[end:])


def test_every_number_that_is_proposed_is_sane(text):
    file = parse(text)
    families = {knob.address: (knob, family) for knob, family in numbers(file)}
    for name in ("constants", "coupled"):
        for proposal in OPERATORS[name].proposals(file):
            new = parse(applied(text, proposal.brief))
            moved = {knob.address: (knob, family) for knob, family in numbers(new)}
            for address in parse_set(proposal.brief):
                knob, family = moved[address]
                assert family == families[address][1]
                assert family.scale.allows(knob.value, company_of(new, knob)), proposal.brief


def test_line_ends_indentation_and_odd_spaces_stay(script):
    windows = script("speedrun_style").replace("\n", "\r\n")
    for proposal in operators.proposals(windows):
        new = applied(windows, proposal.brief)
        ast.parse(new)
        assert new.count("\n") == new.count("\r\n"), proposal.brief
    tabs = MODEL + "LR = 0.1\t# tabs\n\n\nclass M(nn.Module):\n\tdef forward(self, x):\n\t\treturn F.relu( x )  # é\n"
    assert changed(tabs, applied(tabs, "swap activation relu -> gelu in M.forward")) == [
        "-\t\treturn F.relu( x )  # é",
        "+\t\treturn F.gelu(x)  # é",
    ]


@pytest.mark.parametrize("end", ["\n", "", "\n\n\n"])
def test_a_missing_or_doubled_last_line_end_stays(end):
    text = "LR = 0.1\nprint(LR)" + end
    assert applied(text, "set LR = 0.2") == "LR = 0.2\nprint(LR)" + end


@pytest.mark.parametrize("text", ["", "x = = 1\n", "\x00", "# \udc80\n", "(" * 3000, "LR = 0.1\n" * 2])
def test_strange_files_offer_nothing_and_break_nothing(text):
    assert operators.proposals(text) == ()
    assert isinstance(operators.apply(text, "set LR = 0.2"), NotApplicable)
    assert all(isinstance(reason, str) for reason in operators.explain(text).values())


def test_expressions_nested_too_deeply_are_declined():
    deep = "LR = " + "+".join(["x"] * 3000) + "\nWIDTH = 64\nON = True\nprint(LR if ON else WIDTH)\n"
    for proposal in operators.proposals(deep):
        operators.apply(deep, proposal.brief)
    assert isinstance(operators.apply(deep, "fold ON = True"), str | NotApplicable)


@pytest.mark.parametrize(
    "brief",
    [
        "",
        "set",
        "set ",
        "set NOTHING = 1",
        "set MATRIX_LR",
        "set MATRIX_LR = ",
        "set MATRIX_LR = 0.02",  # as it is
        "set MATRIX_LR = import os",
        "set MATRIX_LR = 0.03 and DEPTH = 5",
        'set MATRIX_LR = "fast"',
        "swap activation relu -> gelu in Nowhere.forward",
        "swap activation relu2 -> nothing in MLP.forward",
        "reshape decay to zigzag in lr_scale",
        "fold QK_NORM = False",
        "fold DEPTH = 4",
        "drop everything in main",
        "prune main",
        "unwrap norm(y) in Block.forward",
        "add label_smoothing=os to cross_entropy in main",
        "clip gradients at 1.0 in main",
        "Please raise the learning rate of the matrices a little.",
        "set MATRIX_LR = 0.03\nset DEPTH = 5",
    ],
)
def test_briefs_that_are_not_understood_or_do_not_fit_give_one_clear_line(brief, script):
    outcome = operators.apply(script("seed"), brief)
    assert isinstance(outcome, NotApplicable)
    assert len(outcome.reason) > 10
    assert "\n" not in outcome.reason


@given(brief=st.text(max_size=60) | st.tuples(st.sampled_from(sorted(VERBS)), st.text(max_size=60)).map(" ".join))
def test_no_brief_whatsoever_raises(brief):
    text = "LR = 0.1\nON = True\nprint(LR if ON else 0)\n"
    assert isinstance(operators.apply(text, brief), str | NotApplicable)


def test_a_brief_means_the_same_on_a_file_that_differs_elsewhere(script):
    seed = script("seed")
    other = applied(applied(seed, "set DEPTH = 6"), "fold QK_NORM = True")
    briefs = "set HEAD_LR = 0.005", "swap activation relu2 -> gelu in MLP.forward", "drop if GRAD_CLIP > 0: in main"
    for brief in briefs:
        assert changed(seed, applied(seed, brief)) == changed(other, applied(other, brief))


VALUES = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)


@given(settings=st.dictionaries(st.sampled_from(["LR", "A.b", "C[1]", "f(x)", "--lr", "beta2"]), VALUES, min_size=1))
def test_settings_survive_being_written_as_a_brief(settings):
    assert parse_set(set_brief(settings)) == settings


def test_knobs_are_found_in_all_the_places_where_scripts_keep_them():
    text = (
        "LR = -2.5e-3\nBATCH = 2**19\nBETAS = (0.9, 0.95)\nMODE = 'a'\nstep = 0\nstep += 1\nTWICE = 1\nTWICE = 2\n"
        "class Config:\n    n_layer: int = 12\n"
        "def newton(g, steps=5, *, eps=1e-7):\n    pass\n"
        "optimizer = Adam(parameters, lr=3e-4)\n"
        "parser.add_argument('--weight-decay', type=float, default=0.1)\n"
    )
    found = {address: knob.value for address, knob in find_knobs(parse(text)).items()}
    assert found == {
        "LR": -0.0025,
        "BATCH": 2**19,
        "BETAS[0]": 0.9,
        "BETAS[1]": 0.95,
        "MODE": "a",
        "Config.n_layer": 12,
        "newton.steps": 5,
        "newton.eps": 1e-7,
        "Adam(lr)": 3e-4,
        "--weight-decay": 0.1,
    }


def test_numbers_are_written_in_the_style_of_the_file():
    text = "BATCH = 2**19\nROWS = 2 ** 4\nSTEPS = 1_000\nMODE = 'a'\nprint(BATCH, ROWS, STEPS, MODE)\n"
    new = applied(text, 'set BATCH = 262144, ROWS = 32, STEPS = 2000, MODE = "b"')
    assert new.splitlines()[:4] == ["BATCH = 2**18", "ROWS = 2 ** 5", "STEPS = 2_000", "MODE = 'b'"]


def test_a_default_that_every_call_overrides_is_no_knob():
    text = "def f(x, lr=0.1, momentum=0.9):\n    pass\nf(1, lr=LR)\nf(2, 0.3)\n"
    knobs = find_knobs(parse(text))
    assert not knobs["f.lr"].read
    assert knobs["f.momentum"].read


def test_constants_about_the_measurement_are_never_touched():
    names = ("SEED", "EVAL_TOKENS", "VOCAB_SIZE", "TIME_BUDGET", "DATA_PATH", "VERSION", "LOG_EVERY", "DEVICE")
    text = "".join(f"{name} = 3\n" for name in names) + f"print({', '.join(names)})\n"
    assert operators.proposals(text) == ()


@pytest.mark.parametrize("value", ["1e999", "1e-320", "10**40", "-1.0", "0.1 + 0.2j", "'0.1'", "None"])
def test_numbers_that_no_scale_can_hold_are_left_alone(value):
    assert not [p for p in operators.proposals(f"LR = {value}\nprint(LR)\n") if p.brief.startswith("set")]


def test_numbers_that_decide_nothing_in_the_file_are_left_alone():
    assert not [p for p in operators.proposals("LR = 0.1\n") if p.brief.startswith("set")]


def test_longer_rows_are_not_proposed_where_the_task_bounds_them(script):
    briefs = {p.brief for p in operators.proposals(script("seed"))}
    assert "set SEQ_LEN = 128" in briefs
    assert "set SEQ_LEN = 512" not in briefs


def test_a_batch_takes_the_learning_rates_along_by_the_square_root():
    text = "BATCH_SIZE = 16\nMATRIX_LR = 0.02\nHEAD_LR = 0.004\nprint(BATCH_SIZE, MATRIX_LR, HEAD_LR)\n"
    briefs = {p.brief for p in operators.proposals(text)}
    assert "set BATCH_SIZE = 32, MATRIX_LR = 0.028, HEAD_LR = 0.0057" in briefs
    assert "set BATCH_SIZE = 8, MATRIX_LR = 0.014, HEAD_LR = 0.0028" in briefs


def test_width_moves_by_whole_heads_and_against_depth_at_equal_size():
    text = "DEPTH = 4\nWIDTH = 128\nHEADS = 4\nprint(DEPTH, WIDTH, HEADS)\n"
    briefs = {p.brief for p in operators.proposals(text)}
    assert {"set WIDTH = 160, HEADS = 5", "set WIDTH = 96, HEADS = 3"} <= briefs
    assert "set DEPTH = 7, WIDTH = 96" not in briefs  # three layers more at once is too far
    assert "set DEPTH = 6, WIDTH = 96" in briefs  # 128 * sqrt(4 / 6) = 104.5, within 10 %


def test_switches_turn_both_ways_and_zeros_switch_on():
    text = (
        "QK_NORM = True\nLOGIT_CAP = 0.0\nGRAD_CLIP = 1.0\nUNGUARDED_CAP = 5.0\nCOMPILE = True\n"
        "if QK_NORM and LOGIT_CAP > 0 and GRAD_CLIP > 0 and COMPILE:\n    f(UNGUARDED_CAP)\n"
    )
    briefs = {p.brief for p in OPERATORS["features"].proposals(parse(text))}
    assert briefs == {"set QK_NORM = False", "set LOGIT_CAP = 16.0", "set LOGIT_CAP = 32.0", "set GRAD_CLIP = 0.0"}


def test_a_named_choice_is_taken_from_what_the_file_compares_it_with(script):
    briefs = {p.brief for p in operators.proposals(script("speedrun_style"))}
    assert 'set ACTIVATION = "gelu"' in briefs


@pytest.mark.parametrize(
    ("before", "brief", "after"),
    [
        ("F.relu(x + 1).square()", "relu2 -> silu", "F.silu(x + 1)"),
        ("F.relu(x) ** 2", "relu2 -> relu", "F.relu(x)"),
        ("torch.relu(x)", "relu -> relu2", "F.relu(x).square()"),
        ("x.relu()", "relu -> gelu", "F.gelu(x)"),
        ("nn.GELU()(x)", "gelu -> silu", "nn.SiLU()(x)"),
    ],
)
def test_activations_are_exchanged_however_they_are_written(before, brief, after):
    text = MODEL + f"def f(x):\n    return {before}\n"
    assert applied(text, f"swap activation {brief} in f") == MODEL + f"def f(x):\n    return {after}\n"


def test_the_tanh_of_a_logit_cap_is_no_activation():
    text = MODEL + "def f(x):\n    return 15 * torch.tanh(x / 15)\n"
    assert not [p for p in operators.proposals(text) if p.brief.startswith("swap")]


@pytest.mark.parametrize(
    "body",
    [
        "    return END + (1 - END) * (1 - t) / DOWN if t > 1 - DOWN else 1.0",
        "    if t < 1 - DOWN:\n        return 1.0\n    fall = (1.0 - t) / DOWN\n    return fall + (1 - fall) * END",
        "    return END + (1 - END) * 0.5 * (1 + math.cos(math.pi * (t - 1 + DOWN) / DOWN)) if t > 1 - DOWN else 1.0",
    ],
)
def test_a_reshaped_decay_falls_from_one_to_the_end_and_can_be_reshaped_again(body):
    text = f"import math\nDOWN, END = 0.5, 0.1\ndef lr_scale(t):\n{body}\n"
    for shape, middle in {"cosine": 0.55, "root": 0.1 + 0.9 * math.sqrt(0.5), "square": 0.325, "linear": 0.55}.items():
        for source in (text, _reshaped(text, "square"), _reshaped(text, "root"), _reshaped(text, "cosine")):
            space: dict = {}
            exec(_reshaped(source, shape), space)
            values = [space["lr_scale"](t) for t in (0.2, 0.5000001, 0.75, 1.0, 1.0000001)]
            assert values == pytest.approx([1.0, 1.0, middle, 0.1, 0.1], abs=2e-3)


def _reshaped(text: str, shape: str) -> str:
    brief = f"reshape decay to {shape} in lr_scale"
    offered = {p.brief for p in operators.proposals(text)}
    return applied(text, brief) if brief in offered else text


def test_folding_a_switch_removes_it_and_what_it_kept_from_running():
    text = (
        "# what the model is\nDEPTH = 4\nTIED = False  # one table\n\n\n"
        "def build(n):\n"
        "    scale = 0.02 if TIED else 1.0\n"
        "    # the head\n"
        "    if TIED:\n        head = n\n"
        "    else:\n        # its own table\n        head = n + 1  # more\n"
        "    if not TIED and n > 1:\n        head += 1\n"
        "    return scale, head, options(TIED=TIED), n.TIED\n"
    )
    assert applied(text, "fold TIED = False") == (
        "# what the model is\nDEPTH = 4\n\n\n"
        "def build(n):\n"
        "    scale = 1.0\n"
        "    # the head\n"
        "    # its own table\n"
        "    head = n + 1  # more\n"
        "    if n > 1:\n        head += 1\n"
        "    return scale, head, options(TIED=False), n.TIED\n"
    )


def test_dropout_at_zero_folds_away_with_its_calls():
    text = "DROPOUT = 0.0\n\n\ndef f(x, on):\n    return x + F.dropout(x if on else -x, DROPOUT, on)\n"
    after = "def f(x, on):\n    return x + (x if on else -x)\n"
    assert applied(text, "fold DROPOUT = 0.0") == after


TESTS = st.recursive(
    st.sampled_from(["FLAG", "x", "y", "FLAG == False", "True"]),
    lambda inner: st.one_of(
        inner.map(lambda t: f"not ({t})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=4,
)


@given(tests=st.lists(TESTS, min_size=4, max_size=4), flag=st.booleans())
def test_a_folded_function_does_what_it_did(tests, flag):
    a, b, c, d = tests
    text = (
        "def f(x, y):\n    r = []\n"
        f"    if {a}:\n        r.append(1)\n    elif {b}:\n        r.append(2)\n        # end\n"
        f"    elif {c}: r.append(3)\n    else:\n        if {d}:\n            r.append(4)\n"
        f"    r.append(5 if {b} else 6)\n    return r\n"
    )
    before, after = {"FLAG": flag}, {"FLAG": "gone"}
    exec(text, before)
    exec(folded(text, "FLAG", str(flag)), after)
    for x in (False, True):
        for y in (False, True):
            assert before["f"](x, y) == after["f"](x, y)


def test_dropping_a_branch_takes_its_submodule_along():
    text = MODEL + (
        "class Block(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.attn = A()\n        self.mlp = M()\n\n"
        "    def forward(self, x):\n        x = x + self.attn(x)\n        x = x + self.mlp(x)\n        return x\n"
    )
    new = applied(text, "drop x = x + self.attn(x) in Block.forward")
    assert changed(text, new) == ["-        self.attn = A()", "-        x = x + self.attn(x)"]


def test_the_second_of_two_equal_statements_has_a_name_of_its_own():
    text = MODEL + (
        "class G(nn.Module):\n    def forward(self, x):\n"
        "        x = norm(x)\n        y = f(x)\n        x = norm(x)\n        return x, y\n"
    )
    first, second = (applied(text, f"drop x = norm(x) in G.forward{n}") for n in ("", " #2"))
    assert first.index("y = f(x)") < first.index("x = norm(x)")
    assert second.index("x = norm(x)") < second.index("y = f(x)")


def test_a_removed_function_takes_its_comment_and_one_gap_along():
    text = "A = 1\n\n\n# nobody calls it\ndef unused():\n    return 1\n\n\nprint(A)\n"
    assert applied(text, "prune unused") == "A = 1\n\n\nprint(A)\n"


def test_a_comment_over_a_group_stays_when_its_first_line_goes():
    text = "# sizes\nUNUSED = 1\nB = 2\nprint(B)\n"
    assert applied(text, "prune UNUSED") == "# sizes\nB = 2\nprint(B)\n"


def test_one_name_can_be_pruned_from_an_import():
    text = "from m import a, b\nimport c, d\nprint(b, d)\n"
    assert applied(text, "prune a") == "from m import b\nimport c, d\nprint(b, d)\n"
    assert applied(text, "prune c") == "from m import a, b\nimport d\nprint(b, d)\n"


@pytest.mark.parametrize("extra", ["exec(open('overrides').read())", "print(globals())", "print('UNUSED')"])
def test_nothing_is_unused_where_names_may_be_read_unseen(extra):
    assert not [p for p in operators.proposals(f"UNUSED = 1\n{extra}\n") if p.brief.startswith("prune")]


def test_a_norm_inside_an_expression_is_taken_out():
    text = MODEL + "def forward(self, x):\n    return self.f(norm(x + 1)) + norm(x)\n"
    assert "self.f((x + 1)) + norm(x)" in applied(text, "unwrap norm(x + 1) in forward")


def test_queries_and_keys_are_normalised_only_where_they_are_not(script):
    briefs = {p.brief for p in operators.proposals(script("speedrun_style"))}
    brief = "normalise queries and keys in Attention.forward"
    assert brief in briefs
    new = applied(script("speedrun_style"), brief)
    assert "scaled_dot_product_attention(norm(q), norm(k), v, is_causal=True)" in new
    assert brief not in {p.brief for p in operators.proposals(new)}


def test_branches_in_a_row_become_parallel():
    text = MODEL + "def forward(self, x):\n    x = x + self.a(n(x))  # first\n    return x + self.b(n(x))\n"
    after = MODEL + "def forward(self, x):\n    return x + self.a(n(x)) + self.b(n(x))\n"
    assert applied(text, "parallel branches in forward") == after


def test_clipping_is_inserted_after_the_backward_pass(script):
    text = script("speedrun_style")
    line = "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    assert changed(text, applied(text, "clip gradients at 1.0 in main")) == [f"+{line}"]


def test_a_keyword_is_added_behind_the_last_argument(script):
    text = script("speedrun_style")
    new = applied(text, "add betas=(0.9, 0.95) to AdamW in main")
    assert "weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))" in new
    assert not [p for p in operators.proposals(new) if p.brief.startswith("add betas")]
