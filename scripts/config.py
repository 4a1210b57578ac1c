"""The values of extension_config/extension.env, checked against Cargo.toml."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def load():
    """Returns the settings as a dict of strings; exits with a message if the version is not Cargo.toml's."""
    path = ROOT / "extension_config" / "extension.env"
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#"))
    config = {name: value.strip() for name, value in pairs}
    cargo = re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    if not cargo or cargo[1] != config["EXTENSION_VERSION"]:
        sys.exit(f"{path}: EXTENSION_VERSION is {config['EXTENSION_VERSION']}, Cargo.toml says {cargo and cargo[1]}")
    return config
