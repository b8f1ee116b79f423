"""Configuration files: strict YAML that may extend other files -> one checked, frozen :class:`Config`."""

from utils.config.loading import (
    change_config,
    config_differences,
    dump_config,
    flatten_config,
    ignore_warning,
    known_keys,
    load_config,
    parse_config,
    print_warning,
    save_config,
)
from utils.config.schema import Config

__all__ = [
    "Config",
    "change_config",
    "config_differences",
    "dump_config",
    "flatten_config",
    "ignore_warning",
    "known_keys",
    "load_config",
    "parse_config",
    "print_warning",
    "save_config",
]
