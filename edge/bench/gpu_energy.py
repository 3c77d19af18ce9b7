"""What NVIDIA's graphics cards have spent, as their driver's NVML counts it (package `nvidia-ml-py`, extra `gpu`)."""

from __future__ import annotations

from contextlib import suppress


def millijoules() -> dict[str, int]:
    """Of each card by its UUID, since its driver was loaded; none where package, driver or counter is not there."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    found: dict[str, int] = {}
    try:
        for number in range(pynvml.nvmlDeviceGetCount()):
            card = pynvml.nvmlDeviceGetHandleByIndex(number)
            found[pynvml.nvmlDeviceGetUUID(card)] = pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError:  # cards before Volta do not count
        return {}
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return found
