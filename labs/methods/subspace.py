"""Training in a random subspace: the measure of "intrinsic dimension".

    θ = θ₀ + P z        θ₀ the base's parameters (frozen) · P random (frozen) · z all that trains
                        Li et al. 2018; Aghajanyan et al. 2020 for language models

P is as sparse as it can be: it adds one entry of z, with a random sign, to each parameter. A dense
P of ten thousand columns would not fit into memory for any model.

Left out on purpose: a scale for each layer (Aghajanyan's SAID).
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call


class RandomSubspace(nn.Module):
    """A model of which only `dimension` numbers train, each spread over a share of all parameters.

    Raises ValueError for a dimension that is not from 1 to the number of parameters.
    """

    def __init__(self, model: nn.Module, dimension: int, seed: int):
        super().__init__()
        self.shapes = {name: p.shape for name, p in model.named_parameters()}
        total = sum(shape.numel() for shape in self.shapes.values())
        if type(dimension) is not int or not 1 <= dimension <= total:
            raise ValueError(
                f"the dimension is {dimension} and the model has {total:,} parameters: choose a "
                "dimension from 1 to that"
            )
        generator = torch.Generator().manual_seed(seed)
        # Every entry of z moves about as many parameters as any other; dividing by the root keeps
        # |Pz| = |z|.
        place = torch.randperm(total, generator=generator) % dimension
        sign = torch.randint(0, 2, (total,), generator=generator) * 2.0 - 1
        self.model = model
        self.register_buffer("place", place.to(self.device))
        self.register_buffer("sign", sign.to(self.device) / (total / dimension) ** 0.5)
        self.model.requires_grad_(False)
        self.z = nn.Parameter(torch.zeros(dimension, device=self.device))

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def config(self):
        return self.model.config

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def parameters_now(self) -> dict[str, Tensor]:
        """θ₀ + P z, by the names of the model's parameters."""
        change = (self.z[self.place] * self.sign).split(
            [shape.numel() for shape in self.shapes.values()]
        )
        start = dict(self.model.named_parameters())
        return {
            name: start[name] + part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), change)
        }

    def forward(self, **inputs):
        return functional_call(self.model, self.parameters_now(), (), inputs, tie_weights=True)
