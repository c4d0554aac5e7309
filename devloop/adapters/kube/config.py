"""Reads kubeconfig files, with PyYAML alone: which contexts there are must be known before any client is loaded."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from devloop.core.cluster.contexts import Contexts, merge
from devloop.errors import InputError, Where

__all__ = ["kubeconfig_files", "read_contexts"]

_K3S = Path("/etc/rancher/k3s/k3s.yaml")
"""What k3s writes on the machine that it runs on. Its context is called `default`, which says nothing by itself."""

_RELATIVE = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def kubeconfig_files(kubeconfig: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """Return the kubeconfig files that are there: those given, else those of `KUBECONFIG`, else the user's own."""
    named = os.fspath(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = (Path(part).expanduser() for part in named.split(os.pathsep) if part)
    return tuple(path for path in paths if path.is_file())


def read_contexts(kubeconfig: str | os.PathLike[str] | None = None) -> Contexts:
    """Return the contexts of the kubeconfig files; file names in them are made absolute.

    Raises:
        InputError: A file is not a kubeconfig.
    """
    return merge([_read(path) for path in kubeconfig_files(kubeconfig)], _authorities_here())


def _authorities_here() -> frozenset[str]:
    """Return the authority of the k3s on this machine, by which copies of its kubeconfig are recognised, too."""
    if not os.access(_K3S, os.R_OK):
        return frozenset()
    entries = _read(_K3S).get("clusters") or ()
    found = ((entry.get("cluster") or {}).get("certificate-authority-data") for entry in entries)
    return frozenset(each for each in found if each)


def _read(path: Path) -> Mapping[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        config = yaml.load(path.read_bytes(), Loader=loader) or {}  # noqa: S506 - both are safe loaders
    except (OSError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = (
            Where(path=str(path)) if mark is None else Where(path=str(path), line=mark.line + 1, column=mark.column + 1)
        )
        hint = "mend it, or name another file: `--kubeconfig`, or the environment variable KUBECONFIG"
        raise InputError(f"this kubeconfig cannot be read: {_reason(error)}", where=where, hint=hint) from error
    if not isinstance(config, dict):
        raise InputError(f"`{path}` is not a kubeconfig", where=Where(path=str(path)))
    for plural, singular in (("clusters", "cluster"), ("users", "user")):
        for entry in config.get(plural) or ():
            content = entry.get(singular) or {}
            content.update({key: str(path.parent / content[key]) for key in _RELATIVE if content.get(key)})
    return config


def _reason(error: OSError | yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or getattr(error, "strerror", None) or type(error).__name__
