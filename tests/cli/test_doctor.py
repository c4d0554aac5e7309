"""What `devloop doctor` says where no cluster answers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def rows(folder: Path, kubeconfig: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "devloop", "doctor", "--output", "json"],
        cwd=folder,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("context", "hint"),
    [
        ("devloop", "`devloop cluster start` starts it"),
        ("minikube", "is the cluster running? `devloop cluster start` makes one of your own"),
    ],
)
def test_where_the_cluster_does_not_answer_the_way_out_is_one_of_ones_own(
    tmp_path: Path, context: str, hint: str
) -> None:
    config = {
        "current-context": context,
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    row = rows(tmp_path, tmp_path / "config")["cluster"]
    assert (row["ok"], row["hint"]) == (False, hint)
