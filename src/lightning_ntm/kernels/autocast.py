"""Whether operations follow autocast."""

import torch


def autocast_enabled(device: torch.device) -> bool:
    """Return whether autocast is on for a device; never on one that has none, as `meta`."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
