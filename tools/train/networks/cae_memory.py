"""The autoencoder with a memory of good parts (Gong et al. 2019, MemAE; Zouar 4.2.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.train.networks.cae import down, up

FLOOR = 1e-12


class Memory(nn.Module):
    """Each cell's code is rebuilt from the few items of a learnt table that lie nearest to it (Gong 3.3).

    Weights are the softmax of the cosine similarities to all items (equations 4 and 5); those up to the limit become
    zero (equation 6) and the rest is scaled to one. The limit is 1/items, the lower end of Gong's 1/N .. 3/N: cosines
    spread too little at first for more, every weight would be zero and nothing could be learnt.
    """

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.empty(items, width))
        nn.init.kaiming_uniform_(self.items)
        self.limit = 1 / items

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c, h, w)` codes -> what memory has for them, as large, and the weights `(n, h * w, items)`."""
        n, width, h, w = codes.shape
        queries = functional.normalize(codes.flatten(2).transpose(1, 2), dim=2)
        similar = queries @ functional.normalize(self.items, dim=1).t()
        weights = torch.softmax(similar, 2)
        # The same function as Gong's equation 7, whose ReLU a quantiser would take for one of the network's.
        kept = torch.where(weights > self.limit, weights, torch.zeros_like(weights))
        kept = kept / (kept.sum(2, keepdim=True) + FLOOR)
        recalled = (kept @ self.items).transpose(1, 2).reshape(n, width, h, w)
        return recalled, kept


def entropy(weights: Tensor) -> Tensor:
    """Of the addressing, averaged over the cells (Gong equation 9)."""
    return -(weights * (weights + FLOOR).log()).sum(2).mean()


class MemAE(nn.Module):
    """Gong et al. 2019 as Zouar ran it (table 10): `(n, 1, 128, 128)` -> its reconstruction, linear.

    Table 10's decoder repeats the first rows of table 7 and would end at 16 x 16 x 128; as in Gong's own networks the
    decoder here mirrors the encoder. The memory stands between them, one query for each of the 8 x 8 cells as in Gong's
    network for video, with 500 items as for CIFAR-10. Batch norm and leaky ReLU after every layer but the last (Gong
    4.2). The table's 5x5 kernels are padded by 2, which gives its output sizes.
    """

    def __init__(self, items: int = 500) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*down(1, 64, 5, 2), *down(64, 64, 5, 2), *down(64, 96, 5, 2), *down(96, 96, 5, 2))
        self.memory = Memory(items, 96)
        self.decoder = nn.Sequential(*up(96, 96, 5), *up(96, 64, 5), *up(64, 64, 5), *up(64, 1, 5)[:1])

    def recall(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction and the memory's weights, `(n, 64, items)`."""
        codes = self.encoder(x)
        # Weights lie near 1/items: bfloat16 could not tell them from the limit.
        with torch.autocast(codes.device.type, enabled=False):
            recalled, weights = self.memory(codes.float())
        return self.decoder(recalled), weights

    def forward(self, x: Tensor) -> Tensor:
        return self.recall(x)[0]
