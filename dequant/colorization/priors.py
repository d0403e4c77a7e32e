"""What a photo shows, from a frozen classifier: the category of its main thing, and where it is."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.color.names import WORDS
from dequant.condition import patches
from dequant.condition.captions import caption
from dequant.condition.dull import DULL
from dequant.condition.scenes import SHAPES
from dequant.metrics.efficientnet import EfficientNetLite0

THINGS: dict[str, tuple[int | range, ...]] = {
    "fish": (range(0, 2), range(389, 398)),
    "shark": (range(2, 7), 147, 148),
    "bird": (range(7, 25), range(80, 101), range(127, 147)),
    "frog": (range(25, 33),),
    "turtle": (range(33, 38),),
    "lizard": (range(38, 52),),
    "snake": (range(52, 69),),
    "spider": (range(70, 79), 815),
    "jellyfish": (107,),
    "coral": (range(108, 110), 973),
    "snail": (range(112, 118),),
    "crab": (range(118, 127),),
    "dog": (range(151, 269),),
    "wolf": (range(269, 277),),
    "fox": (range(277, 281),),
    "cat": (range(281, 286),),
    "big cat": (range(286, 294),),
    "bear": (range(294, 298), 387, 388),
    "insect": (range(300, 319), 319, 320),
    "butterfly": (range(321, 327),),
    "rabbit": (range(330, 333),),
    "squirrel": (range(333, 339),),
    "horse": (339, 340, 603),
    "pig": (range(341, 345),),
    "cow": (range(345, 348),),
    "sheep": (range(348, 352),),
    "deer": (range(352, 356),),
    "monkey": (range(365, 385),),
    "elephant": (385, 386, 101),
    "plane": (404, 403, 895, 908, 812),
    "balloon": (417, 405, 701),
    "car": (436, 468, 479, 511, 581, 609, 627, 656, 661, 717, 751, 817, 407, 475),
    "truck": (555, 569, 675, 734, 864, 867, 847, 586),
    "bus": (654, 779, 874, 829),
    "train": (466, 547, 565, 705, 820),
    "bicycle": (444, 671, 880, 870),
    "motorbike": (665, 670, 518),
    "boat": (472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 871, 914, 913, 449, 536),
    "house": (425, 448, 660, 853, 858, 915, 912, 716),
    "church": (406, 442, 497, 663, 668, 832, 538),
    "castle": (483, 698, 873, 649, 682, 500, 825),
    "bridge": (718, 821, 839, 888, 525, 460),
    "lighthouse": (437, 900),
    "street": (919, 920, 704, 705, 640),
    "bench": (703, 765, 559, 857),
    "sofa": (831, 750, 721, 564, 797),
    "room": (453, 495, 526, 532, 548, 598, 624, 762, 799, 846, 894, 896, 905, 904, 789),
    "shirt": (610, 735, 617, 697, 399, 400),
    "sweater": (841, 474, 911, 824),
    "jacket": (568, 652, 869, 465, 490, 501),
    "trousers": (608,),
    "dress": (578, 601, 614, 689, 655, 655, 445, 638, 639, 775, 459),
    "suit": (834, 906, 457, 982),
    "shoe": (770, 630, 502, 788, 774, 514),
    "hat": (515, 808, 439, 452, 433, 793, 560),
    "bag": (414, 748, 636, 728, 893),
    "umbrella": (879,),
    "toy": (850, 865, 643, 607, 476),
    "ball": (429, 430, 522, 574, 722, 768, 805, 852, 890),
    "bottle": (440, 737, 898, 907, 720, 711, 804),
    "cup": (504, 968, 967, 572, 441, 647, 899, 901, 725, 505, 849),
    "carton": (478, 692, 549, 838, 631, 551),
    "vase": (883, 738, 580),
    "book": (921, 917, 446, 681, 922, 454),
    "clock": (409, 530, 892, 531, 826),
    "screen": (664, 782, 851, 620, 681, 527, 487, 916),
    "guitar": (402, 546, 420, 889, 486),
    "flower": (985, 986, 989, 984, 309, 308, 325),
    "mushroom": (947, range(991, 998)),
    "apple": (948, 990),
    "strawberry": (949,),
    "orange": (950,),
    "lemon": (951,),
    "fig": (952, 956),
    "pineapple": (953, 955),
    "banana": (954,),
    "pomegranate": (957,),
    "pepper": (945,),
    "cucumber": (943, 939),
    "cabbage": (936, 944, 946),
    "broccoli": (937, 938),
    "squash": (range(940, 943),),
    "corn": (987, 998),
    "bread": (930, 931, 932, 961, 415),
    "food": (range(924, 930), range(933, 936), range(959, 966), 809, 923, 567, 909),
    "hay": (958, 595, 866),
    "mountain": (970, 980, 672, 795),
    "cliff": (972, 976),
    "lake": (975, 693),
    "coast": (977, 978, 974),
    "valley": (979,),
    "fountain": (562, 971),
}
"""Everyday words for what ImageNet's classes show, by their numbers."""

SURE = 0.25
"""Probability from which on a thing is named."""


class Describer:
    """Captions of photos by a frozen classifier; colours are measured where it sees the thing.

    Args:
        classifier: None takes the packaged one.

    Raises:
        InputError: there is none.
    """

    def __init__(self, classifier: EfficientNetLite0 | None = None) -> None:
        self.classifier = classifier or EfficientNetLite0()

    @torch.no_grad()
    def things(self, rgb: Tensor) -> Tensor:
        """Probabilities of `THINGS`, (B, len(THINGS)), for rgb (B, 3, H, W) in [0, 1]."""
        classes = self.classifier.classes(self.classifier(rgb)).softmax(1)
        return torch.stack([classes[:, numbers(thing)].sum(1) for thing in THINGS], dim=1)

    def thing(self, rgb: Tensor, gray: bool = False) -> str:
        """The main thing of a photo (3, H, W), or "" where none is sure; from its grey copy alone with `gray`."""
        probabilities = self.things((grayscale(rgb) if gray else rgb)[None])[0]
        best = int(probabilities.argmax())
        return list(THINGS)[best] if probabilities[best] >= SURE else ""

    @torch.no_grad()
    def where(self, rgb: Tensor, thing: str) -> Tensor:
        """How far pixels belong to a thing: (3, H, W) -> (h, w) in [0, 1], alike within each segment.

        The class activation map (Zhou et al., CVPR 2016) is averaged over segments of Felzenszwalb and Huttenlocher.
        """
        places = self.classifier.places(rgb[None])
        map_ = torch.einsum("c,chw->hw", self.classifier.classes.weight[numbers(thing)].mean(0), places[0]).relu()
        scale = min(1.0, 128 / max(rgb.shape[1:]))
        size = [max(1, round(scale * side)) for side in rgb.shape[1:]]
        small = F.interpolate(rgb[None], size, mode="area")[0]
        labels = patches.felzenszwalb(small, np.random.default_rng(0)).flatten()
        weight = F.interpolate(map_[None, None], size, mode="bilinear")[0, 0].flatten()
        means = torch.bincount(labels, weight) / torch.bincount(labels).clamp(min=1)
        return (means / means.max().clamp(min=1e-9))[labels].view(size)

    def caption(self, rgb: Tensor) -> str:
        """A caption of a photo (3, H, W) in [0, 1], such as "a red apple on white and green"."""
        thing = self.thing(rgb)
        return caption(rgb, thing, self.where(rgb, thing) if thing else None)


def numbers(thing: str) -> list[int]:
    """Numbers of ImageNet's classes that show a thing."""
    return [one for group in THINGS[thing] for one in (group if isinstance(group, range) else [group])]


def vocabulary() -> list[str]:
    """Words of captions and of what is likely to be asked for, which a small tokenizer keeps whole."""
    others = "a an and the on of in with photo dark light pale sky grass tree sea water sand snow skin hair man woman"
    return [*WORDS, *SHAPES, *" ".join((*THINGS, *DULL)).split(), *others.split()]
