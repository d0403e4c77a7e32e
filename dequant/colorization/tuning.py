"""How a network is tuned to a photo (Lin et al., arXiv:2308.01655)."""

from dataclasses import dataclass

from dequant.colorization.checks import check_number
from dequant.errors import InputError, whole_number

MODES = ("attention", "lora", "full")
"""What of the UNet is tuned: its attention, low-rank changes of it, or all."""

STAGES, DONE = ("color", "embedding", "network"), "done"
"""The loops in their order, and what comes after them."""

ANCHORS = ("drawn", "gray")
"""What the noise loss of the first loop is of: what the network draws before it is tuned, or the grey photo."""

MOST_STEPS = 100_000
"""Of one loop."""


@dataclass(frozen=True)
class Tuning:
    """How a network is tuned to a photo; the defaults are for the bundled network, `DOCUMENT` has those of the paper.

    Attributes:
        mode: one of `MODES`.
        lora_rank: of the low-rank changes.
        color_steps: of the first loop; 0 leaves it out.
        color_lr: learning rate of Adam in it.
        anchor: one of `ANCHORS`. The grey photo, as in the paper, lets a network whose noise is on colour alone
            draw no colour.
        contrast_weight: of the contrastive loss beside that of the noise.
        latest: share of the noise schedule up to which the contrastive loss counts: where there is more noise, the
            one-step estimate of the picture may be mush.
        embedding_steps: of the second loop.
        embedding_lr: likewise.
        network_steps: of the third loop.
        network_lr: likewise.
        timestep_shift: of the timesteps that are drawn at random, see `semantic.shifted`. A network that draws in one
            step is tuned at this one alone, from the noise that it draws from.
        placeholders: whether the embedding that is tuned begins as that of the prompt with placeholders, see
            `captions.rewritten`; a small text encoder that has never seen one loses the prompt by it.
        gradient_checkpointing: recompute activations in the backward pass, which takes time and saves memory.

    Raises:
        InputError: a value cannot be.
    """

    mode: str = "attention"
    lora_rank: int = 4
    color_steps: int = 40
    color_lr: float = 5e-5
    anchor: str = ANCHORS[0]
    contrast_weight: float = 0.5
    latest: float = 1.0
    embedding_steps: int = 20
    embedding_lr: float = 1e-3
    network_steps: int = 40
    network_lr: float = 1e-5
    timestep_shift: float = 1.0
    placeholders: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be with an `InputError`."""
        if self.mode not in MODES:
            raise InputError(f"There is no mode {self.mode!r} of tuning: choose {', '.join(MODES)}.")
        if self.anchor not in ANCHORS:
            raise InputError(f"There is no anchor {self.anchor!r} of tuning: choose {', '.join(ANCHORS)}.")
        whole_number("lora_rank", self.lora_rank)
        for name in STAGES:
            whole_number(f"{name}_steps", getattr(self, f"{name}_steps"), 0, MOST_STEPS)
            check_number(f"{name}_lr", getattr(self, f"{name}_lr"), 1e-12, 1)
        check_number("contrast_weight", self.contrast_weight, 0, 1e3)
        check_number("latest", self.latest, 0, 1)
        check_number("timestep_shift", self.timestep_shift, 1e-3, 1e3)

    def steps(self, stage: str) -> int:
        """Of one of `STAGES`."""
        return int(getattr(self, f"{stage}_steps"))

    def lr(self, stage: str) -> float:
        """Likewise."""
        return float(getattr(self, f"{stage}_lr"))


DOCUMENT = Tuning("full", 4, 1500, 1.5e-6, "gray", 0.5, 0.7, 500, 1e-3, 1000, 1e-6, 1.0, True)
"""The paper's steps, and the learning rates of its authors' notebooks, for Stable Diffusion 1.5."""
