"""Weights known by their sha256, whatever file or process they are from."""

import hashlib

from torch import nn


def weights_sha256(**networks: nn.Module | None) -> str:
    """Of the tensors of networks, by their names; a network that is None is left out."""
    found = hashlib.sha256()
    for name, network in networks.items():
        for key, tensor in () if network is None else network.state_dict().items():
            found.update(f"{name}.{key} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return found.hexdigest()
