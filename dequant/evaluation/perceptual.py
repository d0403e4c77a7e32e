"""The perceptual measures of an evaluation.

LPIPS and the cosine measure one picture, FID and KID all pictures of a cell. Features are kept in files, so that a
stopped run resumes. By default nothing is measured, as the networks' weights do not come with this package.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.errors import InputError
from dequant.evaluation.cases import Case
from dequant.evaluation.measurements import Key
from dequant.evaluation.methods import settings_hash, weights_hash
from dequant.io.files import Row, whole_path
from dequant.metrics.perceptual import frechet_distance, kernel_distance


class PerceptualMeasures:
    """The perceptual measures of an evaluation, which has as many as it has networks.

    A picture is compared with its target. If it has none, its features are compared with those of the source.

    Args:
        folder: of the measurements without perceptual measures.
        lpips: distance of two batches of pictures, such as `Lpips`, or None.
        structure: likeness of two batches of pictures, such as `Structure`, or None; it compares with the source.
        features: name -> network, rgb (B, 3, H, W) in [0, 1] -> features (B, D).
        device: where the networks compute.

    Attributes:
        folder: of the measurements, different for each choice of networks and weights.
        columns: names of the measures of one picture.
        metrics: `columns` and the names of the measures of a cell.
    """

    def __init__(
        self,
        folder: str | Path,
        lpips: nn.Module | None = None,
        structure: nn.Module | None = None,
        features: Mapping[str, nn.Module] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.lpips, self.structure = lpips, structure
        self.features, self.device = dict(features or {}), torch.device(device)
        pairwise = {name: one for name, one in (("lpips", lpips), ("structure", structure)) if one is not None}
        networks = {**pairwise, **self.features}
        for network in networks.values():
            network.to(self.device).eval()
        digest = settings_hash({name: weights_hash(network) for name, network in networks.items()})
        self.folder = Path(folder) / "-".join([*networks, digest]) if networks else Path(folder)
        self.columns = (*pairwise, *(f"{name}_cosine" for name in self.features))
        self.metrics = (*self.columns, *(f"{name}_{metric}" for name in self.features for metric in ("fid", "kid")))

    @torch.inference_mode()
    def measure(self, keys: Sequence[Key], cases: Sequence[Case], outputs: Tensor) -> list[dict[str, float]]:
        """Measure pictures of one size and keep their features.

        Args:
            keys: of their measurements.
            cases: what was requested.
            outputs: (B, 3, H, W) in [0, 1].

        Returns:
            For each picture its `columns`, lpips only if there is a target.

        Raises:
            InputError: a network's output is not one vector per picture.
        """
        values: list[dict[str, float]] = [{} for _ in cases]
        targets = {place: case.target for place, case in enumerate(cases) if case.target is not None}
        if self.lpips is not None and targets:
            pair = outputs[list(targets)].to(self.device), torch.stack(list(targets.values())).to(self.device)
            for place, distance in zip(targets, self.lpips(*pair).tolist(), strict=True):
                values[place]["lpips"] = distance
        if self.structure is not None:
            sources = torch.stack([case.source for case in cases])
            alike = self.structure(outputs.to(self.device), sources.to(self.device)).tolist()
            for value, likeness in zip(values, alike, strict=True):
                value["structure"] = likeness
        photos = [case.source if case.target is None else case.target for case in cases]
        features = {name: self._embed(name, outputs, photos) for name in self.features}
        for name, (first, second) in features.items():
            for value, cosine in zip(values, F.cosine_similarity(first, second).tolist(), strict=True):
                value[f"{name}_cosine"] = cosine
        for place, key in enumerate(keys if features else ()):
            with whole_path(self._path(key)) as partial:
                save_file({name: pair[:, place].clone() for name, pair in features.items()}, partial)
        return values

    def has(self, key: Key) -> bool:
        """Whether the features that belong to a measurement are in their file."""
        try:
            return not self.features or set(load_file(self._path(key))) == set(self.features)
        except (OSError, SafetensorError):
            return False

    def of_cell(self, rows: Sequence[Row]) -> dict[str, float]:
        """FID and KID of the pictures of a cell, from their measurements; nothing for a single picture."""
        if not self.features or len(rows) < 2:
            return {}
        kept = [load_file(self._path((row["variant"], row["settings"], row["case"]))) for row in rows]
        values: dict[str, float] = {}
        for name in self.features:
            first, second = torch.stack([pairs[name] for pairs in kept]).unbind(1)
            values |= {f"{name}_fid": frechet_distance(first, second), f"{name}_kid": kernel_distance(first, second)}
        return values

    def _embed(self, name: str, outputs: Tensor, photos: Sequence[Tensor]) -> Tensor:
        """Features (2, B, D) of outputs and of photos; a photo that occurs several times is embedded once."""
        distinct = {id(photo): photo for photo in photos}
        batch = torch.cat((outputs, torch.stack(list(distinct.values()))))
        found = self.features[name](batch.to(self.device)).float().cpu()
        if found.ndim != 2 or len(found) != len(batch):
            raise InputError(
                f"Expected one vector for each of {len(batch)} pictures from perceptual.features.{name}, "
                f"got a shape of {tuple(found.shape)}."
            )
        place = {key: len(outputs) + number for number, key in enumerate(distinct)}
        return torch.stack((found[: len(outputs)], found[[place[id(photo)] for photo in photos]]))

    def _path(self, key: Key) -> Path:
        return self.folder / "features" / f"{'_'.join(key)}.safetensors"
