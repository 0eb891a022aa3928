"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str | None:
    """Return the version of an installed package, or `None` for one that is imported from its sources."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


__version__ = installed("lightning-ntm") or "unknown"
