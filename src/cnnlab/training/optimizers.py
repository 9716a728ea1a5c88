"""SGD and AdamW as one fused kernel a group of weights; all of their state is tensors that stay in their places.

torch.optim computes the same with the same kernels, but imports torch's compiler at the first step (two seconds of a
process that compiles nothing), and its learning rate is a Python number that a CUDA graph would freeze.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# The kernels of torch.optim's fused=True, which take the rate as a number or as a tensor.
_fused_sgd: Any = torch._fused_sgd_  # pyright: ignore[reportPrivateImportUsage]
_fused_adamw: Any = torch._fused_adamw_  # pyright: ignore[reportPrivateImportUsage]
_add: Any = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of AdamW, as in the paper


class Optimizer(ABC):
    """Groups of weights, each with its weight decay, and tensors of state for every weight."""

    def __init__(self, groups: list[tuple[list[nn.Parameter], float]], moments: tuple[str, ...]) -> None:
        self.groups = [(list(weights), decay) for weights, decay in groups if weights]
        self.state = {name: [[torch.zeros_like(p) for p in weights] for weights, _ in self.groups] for name in moments}

    @abstractmethod
    def step(self, rate: float | Tensor) -> None:
        """Move the weights along their gradients; rate: a number, or a scalar float32 tensor on their device."""

    def zero_grad(self) -> None:
        """Forget the gradients; the next backward pass makes new ones."""
        for weights, _ in self.groups:
            for weight in weights:
                weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the very tensors, not copies."""
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy a saved state into the present tensors."""
        for name, groups in self.state.items():
            for group, saved in zip(groups, state[name], strict=True):
                for tensor, value in zip(group, saved, strict=True):
                    tensor.copy_(value)

    def tensors(self) -> list[Tensor]:
        """Every tensor of the state."""
        return [tensor for groups in self.state.values() for group in groups for tensor in group]

    def _trained(self) -> Iterator[tuple[float, list[Tensor], list[Tensor], list[list[Tensor]]]]:
        """Of each group with gradients: its weight decay, the weights that have one, those, and their state, by moment.

        All are views in the order of memory: the CPU's kernels copy any other, which took ResNet a tenth of its step.
        """
        for (weights, decay), *moments in zip(self.groups, *self.state.values(), strict=True):
            found = [
                [_in_order_of_memory(weight, each) for each in (weight, weight.grad, *state)]
                for weight, *state in zip(weights, *moments, strict=True)
                if weight.grad is not None
            ]
            if found:
                trained, gradients, *columns = map(list, zip(*found, strict=True))
                # The kernels pair numbers by their place in memory. A gradient set by hand may lie in another order.
                yield decay, trained, [gradient.contiguous() for gradient in gradients], columns


def _in_order_of_memory(weight: Tensor, like: Tensor) -> Tensor:
    """A view of a tensor of the weight's shape, or of a scalar, with its axes in the order of the weight's memory."""
    if weight.is_contiguous() or not like.dim():
        return like
    order = sorted(range(weight.dim()), key=weight.stride, reverse=True)
    return like.permute(order)


class SGD(Optimizer):
    """Stochastic gradient descent, plain or with Nesterov's momentum; weight decay is added to the gradient."""

    def __init__(self, groups: list[tuple[list[nn.Parameter], float]], momentum: float = 0.0) -> None:
        super().__init__(groups, ("velocity",) if momentum else ())
        self.momentum = momentum

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        for decay, trained, gradients, velocity in self._trained():
            _fused_sgd(
                trained, gradients, velocity[0] if velocity else [], weight_decay=decay, momentum=self.momentum,
                lr=rate, dampening=0.0, nesterov=self.momentum > 0, maximize=False, is_first_step=False,
            )  # fmt: skip


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""

    def __init__(self, groups: list[tuple[list[nn.Parameter], float]]) -> None:
        super().__init__(groups, ("mean", "square"))
        self.state["steps"] = [
            [torch.zeros((), device=weight.device) for weight in weights] for weights, _ in self.groups
        ]

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        for decay, trained, gradients, (means, squares, steps) in self._trained():
            _add(steps, 1)
            _fused_adamw(
                trained, gradients, means, squares, [], steps, lr=rate,
                beta1=BETAS[0], beta2=BETAS[1], weight_decay=decay, eps=EPSILON, amsgrad=False, maximize=False,
            )  # fmt: skip
