"""Dockerfiles: text → instructions → what devloop needs to know of a build.

```python
facts = build_facts(parse(text, path="api/Dockerfile"), target="release", build_args={"VERSION": "3"})
facts.selects("src/app.py")   # the COPY lines that bring this file into the build
```
"""

from devloop.core.dockerfile.build import (
    Argument,
    BaseConfig,
    BaseUse,
    BuildFacts,
    Feature,
)
from devloop.core.dockerfile.facts import build_facts
from devloop.core.dockerfile.instructions import Directive, Dockerfile, Flag, Heredoc, Instruction
from devloop.core.dockerfile.landing import Choice, Destinations, Landed, Landing, land
from devloop.core.dockerfile.sources import Source, SourceKind
from devloop.core.dockerfile.stages import Stage, Unknown
from devloop.core.dockerfile.syntax import parse

__all__ = [
    "Argument",
    "BaseConfig",
    "BaseUse",
    "BuildFacts",
    "Choice",
    "Destinations",
    "Directive",
    "Dockerfile",
    "Feature",
    "Flag",
    "Heredoc",
    "Instruction",
    "Landed",
    "Landing",
    "Source",
    "SourceKind",
    "Stage",
    "Unknown",
    "build_facts",
    "land",
    "parse",
]
