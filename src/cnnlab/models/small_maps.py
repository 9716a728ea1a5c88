"""A convolution that is fast on tiny maps: ResNet trains twice, GoogLeNet 1.5 times as fast on a CPU with it.

On maps of 1×1 to 3×3 a library's convolution is slow: a 3×3 kernel on a 1×1 map multiplies eight of its nine taps with
padding. docs/performance.md has the figures.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 3  # pixels a side of the maps on which the convolution is a matrix product
FEW = 64  # pictures: with fewer, the matrix of a 3×3 map takes longer to make than it saves


class SmallMapConv2d(nn.Conv2d):
    """nn.Conv2d with square kernels, strides and pads, computed as one matrix product on tiny maps on a CPU.

    The same function of the same weights; only the order of the sums differs.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, padding, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or torch.compiler.is_exporting():
            return super().forward(input)
        pictures, _, height, width = input.shape
        if max(height, width) > (TINY if pictures >= FEW else TINY - 1):
            return super().forward(input)
        pixels = input.permute(0, 2, 3, 1)  # [n, h, w, in]: no copy where channels are innermost
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        if kernel == 1 and not padding:
            return F.linear(pixels[:, ::stride, ::stride], self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        table, rows, columns, outside = _tap_table(kernel, stride, padding, height, width)
        taps = self.weight.permute(0, 2, 3, 1).flatten(1, 2)  # [out, taps, in]
        if outside:
            taps = F.pad(taps, (0, 0, 0, 1))  # a zero for pixels that no tap joins
        matrix = taps.index_select(1, table).view(len(self.weight) * rows * columns, -1)
        bias = None if self.bias is None else self.bias.repeat_interleave(rows * columns)
        product = F.linear(pixels.flatten(1), matrix, bias).view(-1, len(self.weight), rows, columns)
        return product.contiguous(memory_format=torch.channels_last)


@cache
@torch.inference_mode(False)  # the cache serves training too, even if inference fills it
def _tap_table(kernel: int, stride: int, padding: int, height: int, width: int) -> tuple[Tensor, int, int, bool]:
    """For each output pixel and each input pixel the tap between them, kernel² where there is none.

    Also the rows and columns of output pixels, and whether there is a pair without a tap.
    """
    rows, columns = (1 + (side + 2 * padding - kernel) // stride for side in (height, width))
    offset = padding - stride * torch.arange(max(rows, columns))[:, None] + torch.arange(max(height, width))
    down, across = offset[:rows, None, :height, None], offset[None, :columns, None, :width]
    tap = (down * kernel + across).where((down >= 0) & (down < kernel) & (across >= 0) & (across < kernel), kernel**2)
    return tap.flatten(), rows, columns, bool((tap == kernel**2).any())
