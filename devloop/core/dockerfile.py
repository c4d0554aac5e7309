"""Dockerfiles: text → instructions → what devloop needs to know of a build.

```python
facts = build_facts(parse(text, path="api/Dockerfile"), target="release", build_args={"VERSION": "3"})
facts.selects("src/app.py")   # the COPY lines that bring this file into the build
```
"""

from devloop.core.build_facts import build_facts
from devloop.core.build_model import (
    Argument,
    BaseConfig,
    BaseUse,
    BuildFacts,
    Feature,
)
from devloop.core.dockerfile_model import Directive, Dockerfile, Flag, Heredoc, Instruction
from devloop.core.dockerfile_syntax import parse
from devloop.core.landing import Choice, Destinations, Landed, Landing, land
from devloop.core.sources import Source, SourceKind
from devloop.core.stages import Stage, Unknown

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
