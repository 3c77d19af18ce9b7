"""Channels of like range between the layers of a chain: INT8 has one step for all of them (Nagel et al. 2019, 4.1)."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from edge.engines.session import Floats

LEAST = 1e-3  # of the layer's range: a channel that is hardly used is not blown up further


def equalised(chain: nn.Module, inputs: Floats) -> nn.Module:
    """A copy that computes the same: every channel between two (de)convolutions is divided by a number that the next
    one's weights take back, which a (leaky) ReLU between them lets through.

    chain: its (de)convolutions follow one another, in the order of `modules`. inputs: `(n, c, h, w)`, to find the
    ranges with. The number is the root of a channel's range over its layer's: to make all ranges the same would cost
    the next weights, which are quantised too, more than it gives.
    """
    network = copy.deepcopy(chain)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    ranges = channel_ranges(network, layers, torch.from_numpy(inputs.copy()))
    with torch.no_grad():
        for (layer, after), widest in zip(pairwise(layers), ranges, strict=False):
            number = torch.sqrt(widest / widest.max()).clamp(min=LEAST)
            _outputs_first(layer).div_(number[:, None, None, None])
            if layer.bias is not None:
                layer.bias.div_(number)
            _outputs_first(after).mul_(number[None, :, None, None])
    return network


def channel_ranges(network: nn.Module, layers: list[nn.Conv2d | nn.ConvTranspose2d], inputs: Tensor) -> list[Tensor]:
    """The largest absolute value of each layer's channels, `(channels,)`."""
    seen: list[list[Tensor]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_hook(lambda _, __, out, rows=rows: rows.append(out.abs().amax((0, 2, 3))))
        for layer, rows in zip(layers, seen, strict=True)
    ]
    with torch.no_grad():
        for batch in inputs.split(32):
            network(batch)
    for hook in hooks:
        hook.remove()
    return [torch.stack(rows).amax(0) for rows in seen]


def _outputs_first(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Its weights as `(out, in, h, w)`, a view."""
    return layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
