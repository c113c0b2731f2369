"""What is known about the numbers of training scripts: a table of kinds, with how each moves and why one would move it.

Data only. Which number is of which kind is read off its name, in `meaning`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .scales import Doubling, Grid, Heads, Log, NearOne, Number, Scale, Share, Whole, Width


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of number."""

    name: str
    category: str
    weight: float  # how much such a number tends to matter: 1 = ordinary
    scale: Scale
    raising: str  # why more may help
    lowering: str  # why less may help
    mechanism: str
    whole: bool = False  # only ever a whole number
    off: bool = False  # zero switches it off, and the arithmetic survives it without a guard
    on: tuple[Number, ...] = ()  # sane values to switch it on with, for numbers where zero means off
    structural: bool = False


_SHARES = Grid((0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
_SMALL = Grid((0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5))
_BIG_STEPS = (0.1, 0.25, 0.5, 2.0, 4.0, 10.0)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="learning rate",
            category="optimizer",
            weight=3.0,
            scale=Log(1e-6, 5.0),
            raising="In a short run the steps may be too timid: larger ones cover more ground before time is up.",
            lowering="The steps may overshoot: smaller ones lose less to noise and settle lower.",
            mechanism="scales every update of these parameters",
        ),
        Family(
            name="final learning rate",
            category="schedule",
            weight=1.0,
            scale=_SMALL,
            raising="Keeping some learning rate to the end uses the last steps instead of freezing early.",
            lowering="Annealing closer to zero averages out more of the noise of the last steps.",
            mechanism="sets where the learning rate ends, as a share of its peak",
            off=True,
        ),
        Family(
            name="warm-up",
            category="schedule",
            weight=1.2,
            scale=Share(_SHARES),
            raising="Early gradients are the largest and least reliable: a slower start protects the first layers.",
            lowering="Warm-up spends a fixed budget at low learning rates: a shorter one leaves more for learning.",
            mechanism="sets the share of training in which the learning rate rises",
            on=(0.02, 0.05),
        ),
        Family(
            name="warm-down",
            category="schedule",
            weight=2.0,
            scale=Share(_SHARES),
            raising="A longer decay averages more noise out, and most of a short run's loss falls during the decay.",
            lowering="A shorter decay leaves more steps at the full learning rate.",
            mechanism="sets the share of training in which the learning rate falls",
        ),
        Family(
            name="schedule length",
            category="schedule",
            weight=0.8,
            scale=Log(1, 10_000_000, (0.25, 0.5, 2.0, 4.0)),
            raising="Spreading this phase over more steps makes it gentler.",
            lowering="In a short run a long phase never ends: a shorter one takes effect in time.",
            mechanism="moves a milestone of the schedule, in steps",
            whole=True,
        ),
        Family(
            name="weight decay",
            category="regularisation",
            weight=1.3,
            scale=Log(1e-5, 1.0, (0.25, 0.5, 0.63, 1.6, 2.0, 4.0)),
            raising="Stronger decay keeps weights small, so that the same learning rate turns them further.",
            lowering="A run this short does not overfit: decay may only hold the weights back.",
            mechanism="pulls the weights towards zero at every step",
            off=True,
            on=(0.01, 0.1),
        ),
        Family(
            name="label smoothing",
            category="regularisation",
            weight=0.4,
            scale=_SMALL,
            raising="Softer targets keep the logits from growing without need.",
            lowering="The metric is the plain cross-entropy: smoothing trains for something else.",
            mechanism="mixes the target with a uniform distribution",
            off=True,
            on=(0.05, 0.1),
        ),
        Family(
            name="dropout",
            category="regularisation",
            weight=0.7,
            scale=Grid((0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)),
            raising="Dropping activations keeps units from relying on each other.",
            lowering="A model that sees each text about once cannot overfit, and dropout slows its learning.",
            mechanism="zeroes a share of the activations while training",
            off=True,
            on=(0.05, 0.1),
        ),
        Family(
            name="momentum",
            category="optimizer",
            weight=1.2,
            scale=NearOne(0.3, 0.9999),
            raising="A longer memory averages noise out of more gradients.",
            lowering="A shorter memory follows the loss surface faster, which counts when steps are few.",
            mechanism="sets how many past gradients an update remembers, about 1 / (1 - value)",
        ),
        Family(
            name="epsilon",
            category="optimizer",
            weight=0.2,
            scale=Log(1e-12, 1e-3, (0.01, 0.1, 10.0, 100.0)),
            raising="A larger floor damps parameters whose gradients are tiny.",
            lowering="A smaller floor lets rarely used parameters take full steps.",
            mechanism="floors a denominator",
        ),
        Family(
            name="clipping",
            category="optimizer",
            weight=0.8,
            scale=Log(0.01, 100.0),
            raising="A looser bound stops cutting gradients that are merely large.",
            lowering="A tighter bound keeps single bad batches from undoing many steps.",
            mechanism="bounds the size of a gradient or an update",
            on=(1.0,),
        ),
        Family(
            name="logit cap",
            category="architecture",
            weight=0.8,
            scale=Log(2.0, 200.0),
            raising="A looser cap lets the model be surer where it has reason to.",
            lowering="A tighter cap keeps logits small early on and the gradients alive.",
            mechanism="bounds the logits smoothly",
            on=(16.0, 32.0),
        ),
        Family(
            name="rotary base",
            category="architecture",
            weight=0.7,
            scale=Log(10.0, 1e7, _BIG_STEPS),
            raising="Slower rotations keep far positions apart and near ones alike.",
            lowering="Contexts this short do not need slow rotations: faster ones tell near positions apart better.",
            mechanism="sets the wavelengths of the position encoding",
        ),
        Family(
            name="initial scale",
            category="initialisation",
            weight=1.5,
            scale=Log(1e-4, 10.0),
            raising="Larger weights break symmetry faster and carry more signal at the start.",
            lowering="Smaller weights start near a simpler function, and every update then turns them further.",
            mechanism="scales the weights before the first step",
        ),
        Family(
            name="key/value heads",
            category="architecture",
            weight=0.8,
            scale=Heads(of_heads=True),
            raising="More key/value heads give each query more to choose from.",
            lowering="Sharing keys and values among heads saves compute that buys more steps.",
            mechanism="sets how many different keys and values attention has",
            whole=True,
            structural=True,
        ),
        Family(
            name="head size",
            category="architecture",
            weight=0.8,
            scale=Doubling(8, 256),
            raising="Fewer, larger heads match more precisely and run faster.",
            lowering="More, smaller heads look at more places at once.",
            mechanism="splits the width into heads of this size",
            whole=True,
            structural=True,
        ),
        Family(
            name="heads",
            category="architecture",
            weight=1.0,
            scale=Heads(),
            raising="More heads look at more places at once.",
            lowering="Fewer, larger heads match more precisely and run faster.",
            mechanism="splits the same width into another number of heads",
            whole=True,
            structural=True,
        ),
        Family(
            name="depth",
            category="architecture",
            weight=2.0,
            scale=Whole(1, 64),
            raising="More layers compose more complex features; the question is whether they pay for fewer steps.",
            lowering="Fewer layers make every step cheaper, and in a fixed budget steps are worth a lot.",
            mechanism="changes the number of blocks, and with it parameters and time per step",
            whole=True,
            structural=True,
        ),
        Family(
            name="mlp ratio",
            category="architecture",
            weight=1.2,
            scale=Grid((1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8)),
            raising="More hidden units store more, at the cost of time per step.",
            lowering="Slimmer blocks run faster, and the budget buys more of their steps.",
            mechanism="sets the size of the hidden layer relative to the width",
            structural=True,
        ),
        Family(
            name="hidden size",
            category="architecture",
            weight=1.0,
            scale=Width(8, 65536, by_heads=False),
            raising="More hidden units store more, at the cost of time per step.",
            lowering="Slimmer layers run faster, and the budget buys more of their steps.",
            mechanism="sets the size of a hidden layer",
            whole=True,
            structural=True,
        ),
        Family(
            name="width",
            category="architecture",
            weight=2.0,
            scale=Width(),
            raising="A wider model learns more per step; the question is whether it pays for fewer steps.",
            lowering="A narrower model takes more steps in the same budget, and a short run may want those.",
            mechanism="changes the size of the residual stream, and with it parameters and time per step",
            whole=True,
            structural=True,
        ),
        Family(
            name="sequence length",
            category="batch",
            weight=1.5,
            scale=Doubling(16, 8192),
            raising="Longer contexts give every prediction more to go on.",
            lowering="Shorter contexts make attention cheaper and batches more varied.",
            mechanism="sets how many tokens of context a training row has",
            whole=True,
        ),
        Family(
            name="batch size",
            category="batch",
            weight=2.5,
            scale=Doubling(1, 2**22),
            raising="Larger batches give cleaner gradients and use the hardware better.",
            lowering="Smaller batches buy more steps in the same budget, and short runs are starved of steps.",
            mechanism="trades gradient noise against the number of steps",
            whole=True,
        ),
        Family(
            name="accumulation",
            category="batch",
            weight=0.8,
            scale=Doubling(1, 256),
            raising="More accumulation gives cleaner gradients without more memory.",
            lowering="Less accumulation buys more optimizer steps in the same budget.",
            mechanism="sets how many micro-batches make one step",
            whole=True,
        ),
        Family(
            name="iterations",
            category="optimizer",
            weight=0.6,
            scale=Whole(1, 12, (-1, 1)),
            raising="One more iteration makes the result more exact.",
            lowering="One iteration less saves time in every step, and a rough result may be good enough.",
            mechanism="changes how often an inner iteration is repeated",
            whole=True,
        ),
        Family(
            name="window",
            category="architecture",
            weight=0.8,
            scale=Doubling(8, 8192),
            raising="A wider window lets a layer see further back.",
            lowering="A narrower window is cheaper and makes layers specialise in near context.",
            mechanism="bounds how far attention looks back",
            whole=True,
            structural=True,
        ),
        Family(
            name="constant",
            category="constant",
            weight=0.5,
            scale=Log(1e-6, 1e6),
            raising="What this constant does may want more of it.",
            lowering="What this constant does may want less of it.",
            mechanism="scales whatever the constant controls",
        ),
        Family(
            name="share",
            category="constant",
            weight=0.5,
            scale=Grid(_SHARES.values[1:-1], 1),
            raising="What this share controls may want more of it.",
            lowering="What this share controls may want less of it.",
            mechanism="changes a share between 0 and 1",
        ),
        Family(
            name="count",
            category="constant",
            weight=0.5,
            scale=Whole(1, 1024, (-1, 1)),
            raising="One more of these may help.",
            lowering="One less of these may do as well, and cost less.",
            mechanism="changes a small whole number",
            whole=True,
        ),
    )
}
