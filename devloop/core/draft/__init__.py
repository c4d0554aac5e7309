"""What `devloop init` writes: from the files of a project to a draft of its devfile, and from that to text.

```python
drafted = draft(tree)          # a skaffold.yaml, a compose.yaml, or Dockerfiles and manifests
devfile(drafted)               # the text of devfile.py
```

Pure like all of the core: the files come as a `Tree`.
"""

from devloop.core.draft.compose import compose_draft
from devloop.core.draft.compose_file import COMPOSE_FILES
from devloop.core.draft.drafting import LOOKED_FOR, draft
from devloop.core.draft.model import Draft, Note
from devloop.core.draft.python import devfile, notes_of
from devloop.core.draft.skaffold import skaffold_draft
from devloop.core.draft.skaffold_file import SKAFFOLD_FILES
from devloop.core.draft.tree import Tree

__all__ = [
    "COMPOSE_FILES",
    "LOOKED_FOR",
    "SKAFFOLD_FILES",
    "Draft",
    "Note",
    "Tree",
    "compose_draft",
    "devfile",
    "draft",
    "notes_of",
    "skaffold_draft",
]
