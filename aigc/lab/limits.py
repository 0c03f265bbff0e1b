"""What a machine can do at most: products of matrices, convolutions, copies."""

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F


def measured(device: str = "cpu") -> dict[str, float]:
    """GFLOP/s of a product of 1,024 x 1,024 matrices and of a 3x3 convolution (16 x 64 x 32 x 32,
    channels last in bf16) in fp32 and bf16, and GB/s read and written by a copy of 256 MB; the best
    of several tries."""
    a, image = torch.randn(1024, 1024, device=device), torch.randn(16, 64, 32, 32, device=device)
    kernel = torch.randn(64, 64, 3, 3, device=device)
    last = {"memory_format": torch.channels_last, "dtype": torch.bfloat16}
    b, image_b, kernel_b = a.bfloat16(), image.to(**last), kernel.to(**last)
    product, convolution = 2 * 1024**3 / 1e9, 2 * 16 * 64 * 64 * 9 * 32 * 32 / 1e9
    source = torch.zeros(64 * 2**20, device=device)
    target = torch.empty_like(source)
    with torch.no_grad():
        return {
            "gemm_fp32": product / fastest(lambda: a @ a),
            "gemm_bf16": product / fastest(lambda: b @ b),
            "conv_fp32": convolution / fastest(lambda: F.conv2d(image, kernel, padding=1)),
            "conv_bf16": convolution / fastest(lambda: F.conv2d(image_b, kernel_b, padding=1)),
            "copy_gb": 2 * source.nbytes / 1e9 / fastest(lambda: target.copy_(source)),
        }


def fastest(work: Callable[[], object], tries: int = 12) -> float:
    """The least seconds of `work`."""
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
