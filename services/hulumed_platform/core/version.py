"""The version of the platform as installed."""

from importlib.metadata import version

PLATFORM_VERSION = version("hulumed-platform")
