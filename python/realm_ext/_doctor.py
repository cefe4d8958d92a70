"""What this installation is and what it found, as text for people."""

import platform
import sys

from realm_ext import _core


def doctor() -> str:
    """Describe the build, the CPU level in use, and each backend with why it is absent.

    Returns:
        A few lines of text.

    Example:
        >>> import realm_ext
        >>> print(realm_ext.doctor().splitlines()[0])  # doctest: +ELLIPSIS
        realm_ext ... (Python ...)
    """
    build = _core.build_info()
    lines = [
        f"realm_ext {build.version} (Python {platform.python_version()})",
        f"built by {build.compiler}, {build.build_type or 'custom flags'}, "
        f"CUDA {build.cuda or 'not built'}",
        f"system {sys.platform} {platform.machine()}, "
        f"{_core.usable_processors()} processors usable",
    ]
    for probe in _core.probe_backends():
        lines += _describe_backend(probe)
    return "\n".join(lines)


def _describe_backend(probe: _core.BackendProbe) -> list[str]:
    state = "available" if probe.available else "not available"
    reason = f": {probe.reason}" if probe.reason else ""
    return [f"{probe.kind} {state}{reason}"] + [f"  {_describe(d)}" for d in probe.devices]


def _describe(device: _core.Device) -> str:
    memory = f", {device.memory_bytes / 2**30:.1f} GiB" if device.memory_bytes else ""
    return f"{device.name or 'unnamed'} ({', '.join(device.features)}{memory})"
