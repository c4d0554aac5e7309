"""Projects picked by hand: what builders are known to do differently from what one would guess."""

import os
from typing import Final

from devloop.core.dockerfile import BaseConfig
from tests.conformance.project import Project

# A name of this run's own: several may share the engine.
TRIGGER: Final = f"devloop-conformance-trigger-{os.getpid()}"
_TREE: Final = ("a.txt", "b.txt", ".hidden", "src/main.py", "src/lib/util.py", "docs/a.md", "docs/b.txt")


def _scratch(*lines: str, **more: object) -> Project:
    text = "\n".join(("FROM scratch", *lines)) + "\n"
    return Project(**{"dockerfile": text, "files": _TREE, "absent": ("new.txt", "src/new.py"), **more})  # type: ignore[arg-type]


def _file(*lines: str, **more: object) -> Project:
    text = "\n".join(lines) + "\n"
    return Project(**{"dockerfile": text, "files": _TREE, "absent": ("new.txt", "src/new.py"), **more})  # type: ignore[arg-type]


PROJECTS: Final[dict[str, Project]] = {
    "everything": _scratch("COPY . /"),
    "a file into a directory": _scratch("COPY a.txt /w/"),
    "a file under another name": _scratch("COPY a.txt /w"),
    "a directory without its own name": _scratch("COPY src /w"),
    "a star takes dot-files and not the files of directories": _scratch("COPY *.txt .h* /w/"),
    "a directory that a star matches is flattened": _scratch("COPY s* d* /w/"),
    "a star within a path": _scratch("COPY src/*.py /w/", "COPY */*.txt /v/"),
    "an empty glob is fine": _scratch("COPY *.zip a.txt /w/"),
    "dot dot stops at the root": _scratch("COPY ../../a.txt /../x/", "COPY src/../b.txt /y/./z/.."),
    "two files to one name": _scratch("COPY a.txt b.txt /x"),
    "the later copy wins": _scratch("COPY a.txt /x", "COPY b.txt /x", "COPY docs /d", "COPY b.txt /d/a.md"),
    "a workdir makes a directory": _scratch("WORKDIR /w/v", "COPY a.txt /w", "COPY b.txt .", "COPY src ../s"),
    "workdirs add up": _scratch("WORKDIR one", "WORKDIR two", "COPY a.txt .", "COPY b.txt ./sub/"),
    "a question mark and a class": _scratch("COPY ?.txt /q/", "COPY [!x-z].txt docs/[a-b].* /c/"),
    "a negated class may match a slash": _scratch("COPY docs[^b]b.txt /w/"),
    "json with spaces": _scratch('COPY ["with space.txt", "a.txt", "/w x/"]', files=(*_TREE, "with space.txt")),
    "the last word is the destination": _scratch("COPY src/main.py src/lib docs /w/"),
    "variables": _scratch(
        "ARG D=src",
        "ENV N=main.py O=/opt/",
        "ENV N=a.txt M=$N",
        "COPY ${D}/$M $N $O",
        "COPY ${X:-docs}/${Y:+no}a.md /y/",
    ),
    "substitutions": _scratch(
        "ARG V=1.2.3", "COPY a.txt /${V#1.}/${V%%.*}/", "COPY b.txt /${V/./-}/${V//./-}/", "COPY a.txt /\\$V/'$V'/"
    ),
    "an argument beats an earlier variable": _scratch("ENV D=docs", "ARG D=src", "COPY $D /w"),
    "a given argument": _scratch("ARG D=src", "COPY $D /w", args={"D": "docs"}),
    "a global argument is not seen in a stage": _file(
        "ARG D=src", "ARG B=scratch", "FROM $B", "COPY docs$D /w", "ARG D", "COPY $D /v"
    ),
    "stages": _file(
        "FROM scratch AS one",
        "COPY a.txt /a",
        "FROM scratch AS unused",
        "COPY b.txt /b",
        "FROM scratch",
        "COPY --from=one / /w/",
        "COPY src /w/src",
    ),
    "a target": _file("FROM scratch AS one", "COPY a.txt /a", "FROM one AS two", "COPY b.txt /b", target="one"),
    "a stage continues another": _file(
        "FROM scratch AS one", "WORKDIR /w", "ENV F=b.txt", "COPY a.txt .", "FROM one", "COPY $F .", "COPY docs x"
    ),
    "stage numbers and capitals": _file(
        "FROM scratch AS one", "COPY a.txt /", "FROM scratch", "COPY --from=0 /a.txt /0/", "COPY --from=ONE a.txt /1/"
    ),
    "a name given twice": _file(
        "FROM scratch AS x",
        "COPY a.txt /a",
        "FROM scratch AS X",
        "COPY b.txt /b",
        "FROM scratch",
        "COPY --from=x / /w/",
    ),
    "copied onwards by a chain": _file(
        "FROM scratch AS one",
        "COPY src /in/",
        "FROM scratch AS two",
        "COPY --from=one /in/lib /mid/",
        "COPY --from=one /in/*.py /mid/",
        "FROM scratch",
        "COPY --from=two /mid /out",
    ),
    "only a part of a stage is taken": _file(
        "FROM scratch AS one", "COPY . /w/", "FROM scratch", "COPY --from=one /w/src/lib /lib/"
    ),
    "a run may read all of its stage": _file(
        "FROM busybox AS one",
        "COPY a.txt /w/",
        "RUN wc /w/a.txt > /out",
        "FROM scratch",
        "COPY --from=one /out /",
    ),
    "a bind mount": _file("FROM busybox", "RUN --mount=type=bind,source=src/lib,target=/m true", "COPY a.txt /"),
    "a bind mount of everything": _file(
        "FROM busybox", "RUN --mount=target=/m wc /m/a.txt > /out", ignores={".dockerignore": "docs\n"}
    ),
    "a bind mount of a stage": _file(
        "FROM scratch AS one",
        "COPY docs /d/",
        "FROM busybox",
        "RUN --mount=type=bind,from=one,source=/d,target=/m true",
    ),
    "a cache and a tmpfs read nothing": _file(
        "FROM busybox", "RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t true", "COPY b.txt /"
    ),
    "heredocs": _scratch("COPY <<one <<-'two' a.txt /w/", "COPY b.txt /no", "one", "\tCOPY docs /", "\ttwo"),
    "a heredoc that looks like a Dockerfile": _file(
        "FROM busybox", "RUN <<EOF", "COPY() { true; }", "COPY a.txt /", "EOF", "COPY b.txt /"
    ),
    "continuations with comments": _scratch("COPY a.txt \\", "# COPY docs /", "", "   src/main.py \\  ", " /w/"),
    "a backtick escapes": _file(
        "# escape=`", "FROM scratch", "COPY a.txt `", "  /w/", "COPY docs\\\\..\\\\b.txt* src /v/"
    ),
    "windows lines and a byte order mark": Project(
        dockerfile="\ufeffFROM scratch\r\nCOPY a.txt \\\r\n  /w/\r\n# COPY docs /\r\n", files=_TREE
    ),
    "small letters": _scratch("copy a.txt /w/", "Workdir x", "add b.txt ."),
    "chown and chmod": _scratch("COPY --chown=1:1 --chmod=600 a.txt /w/"),
    "a linked layer": _scratch("COPY --link a.txt /w/", "COPY --link docs /w/"),
    "add without archives": _scratch("ADD docs a.txt /w/"),
    "onbuild of a stage": _file(
        "FROM scratch AS one", "ONBUILD COPY a.txt /o/", "COPY b.txt /b", "FROM one AS two", "COPY docs /d", "FROM two"
    ),
    "a link that is named": _scratch(
        "COPY l1 l2 /w/",
        links={"l1": "a.txt", "l2": "/src/lib", "l3": "b.txt"},
        relinked={"l1": "b.txt", "l2": "docs", "l3": "a.txt"},
    ),
    "links that a star matches": _scratch(
        "COPY l* /w/", links={"l1": "l2", "l2": "b.txt"}, relinked={"l1": "a.txt", "l2": "a.txt"}
    ),
    "links within a directory stay links": _scratch(
        "COPY dir /w/",
        links={"dir/up": "../a.txt", "dir/there": "/nowhere"},
        relinked={"dir/up": "b", "dir/there": "c"},
    ),
    "a link on the way": _scratch(
        "COPY l/main.py /w/", "COPY l/*.py /v/", links={"l": "src", "m": "docs"}, relinked={"m": "src"}
    ),
    "ignored files": _scratch("COPY . /", ignores={".dockerignore": "docs\n*.txt\n!b.txt\n**/.hidden\n"}),
    "brought back below an ignored directory": _scratch("COPY src /w/", ignores={".dockerignore": "src\n!src/lib\n"}),
    "a parent does not bring back": _scratch("COPY . /", ignores={".dockerignore": "docs/*\n!docs\n"}),
    "the ignore file ignores itself": _scratch("COPY . /", ignores={".dockerignore": ".dockerignore\nDockerfile\n"}),
    "all but": _scratch("COPY . /", ignores={".dockerignore": "*\n!src/*.py\n!docs\n"}),
    "a trigger of the base image": Project(
        dockerfile=f"FROM {TRIGGER}\nCOPY b.txt /\n",
        files=_TREE,
        bases={TRIGGER: BaseConfig(triggers=("COPY a.txt /t/",))},
    ),
    "the directory is up to the base image": _file(
        "FROM busybox", "COPY a.txt /etc", "COPY b.txt /fresh", "COPY docs /etc", "RUN mkdir /made", "COPY b.txt /made"
    ),
    "a run may change what was copied": _file(
        "FROM busybox", "WORKDIR /w", "COPY src .", "RUN rm main.py", "COPY a.txt /w", "COPY docs /w/lib"
    ),
}
