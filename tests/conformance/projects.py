"""Projects picked by hand: what builders are known to do differently from what one would guess."""

import gzip
import os
from typing import Final

from devloop.core.dockerfile import BaseConfig
from tests.conformance.generated import packed
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
    # --- words and scopes ---
    "an argument of a stage that is continued": _file(
        "FROM scratch AS one", "ARG D=src", "ENV E=docs", "FROM one", "COPY $D /$E/", "COPY ${E}/a.md /"
    ),
    "nothing leaks from a stage that is not continued": _file(
        "FROM scratch AS one", "ENV D=src", "WORKDIR /w", "FROM scratch", "COPY ${D:-docs} here/"
    ),
    "a global argument that another one holds": _file(
        "ARG A=src", "ARG B=${A}/lib", "FROM scratch", "ARG B", "COPY $B /w/", "COPY a.txt /$A/"
    ),
    "a global argument with a default of the stage's own": _file(
        "ARG A=src", "FROM scratch", "ARG A=docs", "COPY $A /w/"
    ),
    "several arguments on a line": _scratch("ARG A=src B=docs C", "COPY $A $B /w$C/"),
    "a later ENV beats an ARG, and a later ARG an ENV": _scratch(
        "ARG A=docs", "ENV A=src", "ENV B=docs", "ARG B=lib", "COPY $A /a/", "COPY src/$B /b/"
    ),
    "all values of an ENV see what was before it": _scratch(
        "ENV A=src", "ENV A=docs B=$A", "COPY $A /a/", "COPY $B /b/"
    ),
    "the old form of ENV takes the rest of the line": _scratch("ENV A a.txt b.txt", "COPY ${A%?b.txt} /w/"),
    "the predefined arguments": _file(
        "FROM --platform=$BUILDPLATFORM scratch AS one",
        "COPY a.txt /$TARGETOS/",
        "ARG TARGETOS TARGETARCH TARGETPLATFORM TARGETVARIANT BUILDOS",
        "COPY a.txt /$TARGETOS/$TARGETARCH$TARGETVARIANT/",
        "COPY b.txt /$TARGETPLATFORM/$BUILDOS/",
        "FROM one",
        "COPY src /$TARGETOS/src",
    ),
    "a proxy is no variable unless it is declared": _scratch(
        "COPY a.txt /x$HTTP_PROXY/", "ARG HTTP_PROXY", "COPY b.txt /y$HTTP_PROXY/", args={"HTTP_PROXY": "p"}
    ),
    "an unset argument that is declared": _scratch("ARG U", "COPY ${U:-src} /w/", "COPY a.txt /x${U-y}/"),
    "a given argument that is empty": _scratch(
        "ARG U=docs", "COPY ${U:-src} /w/", "COPY a.txt /x${U-y}/", args={"U": ""}
    ),
    "quotes and backslashes": _scratch(
        """COPY "a.txt" 'b.txt' s\\rc /w/""",
        "ENV Q='docs' R=\"docs\"",
        "COPY $Q/a.md ${R}/b.txt /v/",
        "COPY a.txt /\\$Q/",
    ),
    "a variable in WORKDIR, with a default that is a path": _scratch(
        "ARG W", "WORKDIR ${W:-/opt/x}", "WORKDIR $W", "COPY a.txt ./"
    ),
    "greedy and lazy trimming": _scratch(
        "ENV P=docs/docs/a.md", "COPY ${P#*/} /a/", "COPY ${P##*/docs/}.txt* ${P%%/*} /b/", "COPY ${P/docs\\//} /c/"
    ),
    # --- sources ---
    "a source with a slash at its end": _scratch("COPY src/ docs/ /w/", "COPY src/lib/ /v"),
    "a pattern that finds files and directories": _scratch("COPY s*c a* d* /w/"),
    "a pattern over several levels": _scratch("COPY s*/l*/u* */*.md /w/"),
    "a backslash before a star is gone before the pattern is read": _scratch(
        "COPY a\\*b /w/", files=(*_TREE, "a*b", "axb", "ab")
    ),
    "names with dollars, brackets and spaces": _scratch(
        'COPY ["[[]a].txt", "\\\\$b.txt", "c d", "/w/"]', files=(*_TREE, "[a].txt", "$b.txt", "c d", "a")
    ),
    "names that are not ASCII": _scratch(
        "COPY \u00fc*.txt \u4e2d /w/", files=(*_TREE, "\u00fc1.txt", "\u4e2d/\u6587", "u1.txt")
    ),
    "small and capital letters differ": _scratch("COPY A.txt /w/", files=(*_TREE, "A.txt")),
    "the Dockerfile is a file like any other": _scratch("COPY . /w/", "COPY Dockerfile /d"),
    "an empty directory makes a directory": _scratch("COPY empty /w", "COPY a.txt /w", folders=("empty",)),
    "an empty directory within another": _scratch("COPY src /w", "COPY a.txt /w/none", folders=("src/none",)),
    "a directory that is found makes none": _scratch("COPY e* /w", "COPY a.txt /w/empty", folders=("empty",)),
    "files of one name in several directories": _scratch("COPY */a.txt /w/", files=("x/a.txt", "y/a.txt", "z/b.txt")),
    "directories of one name flow together": _scratch("COPY x y /w/", files=("x/d/1", "y/d/2", "y/1")),
    # --- destinations ---
    "a dot at the end of a destination": _scratch("COPY a.txt /w/.", "COPY b.txt x/.", "COPY src/main.py y/z/.."),
    "two slashes": _scratch("COPY a.txt //w//x//", "COPY .//b.txt /v"),
    "a file where a directory is by then": _scratch("COPY src /w", "COPY a.txt /w", "COPY b.txt /w/lib"),
    "a destination that other stages made": _file(
        "FROM scratch AS one",
        "COPY src /w",
        "FROM one AS two",
        "COPY a.txt /w",
        "FROM scratch",
        "COPY --from=two /w /v",
        "COPY b.txt /v",
    ),
    "a file of another stage under another name": _file(
        "FROM scratch AS one", "COPY a.txt /x", "FROM scratch", "COPY --from=one /x /y", "COPY --from=one x /z/"
    ),
    "a pattern on another stage": _file(
        "FROM scratch AS one",
        "COPY . /w",
        "FROM scratch",
        "COPY --from=one /w/*.txt /w/s* /v/",
        "COPY --from=one w/d*/* /u/",
    ),
    "nothing found on another stage": _file(
        "FROM scratch AS one", "COPY a.txt /w/", "FROM scratch", "COPY --from=one /x* /v/", "COPY b.txt /v"
    ),
    "a workdir of a stage that is continued": _file(
        "FROM scratch AS one",
        "WORKDIR /w",
        "FROM one AS two",
        "WORKDIR v",
        "COPY a.txt .",
        "FROM two",
        "COPY b.txt ./x/",
    ),
    "a workdir above the root": _scratch("WORKDIR ../..", "COPY a.txt x", "WORKDIR /a/../b", "COPY b.txt ."),
    # --- stages ---
    "a stage that nothing needs": _file(
        "FROM scratch AS one",
        "COPY docs /d",
        "FROM scratch AS two",
        "COPY --from=one /d /e",
        "FROM scratch",
        "COPY a.txt /",
    ),
    "a stage that is needed twice": _file(
        "FROM scratch AS one",
        "COPY src /w",
        "FROM scratch AS two",
        "COPY --from=one /w/lib /l",
        "FROM one",
        "COPY --from=two /l /m",
        "COPY --from=one /w/main.py /",
    ),
    "a target that is not the last": _file(
        "FROM scratch AS one",
        "COPY src /w",
        "FROM scratch AS two",
        "COPY --from=one /w/lib /l",
        "FROM two",
        "COPY docs /",
        target="TWO",
    ),
    "a stage of which one file is taken": _file(
        "FROM scratch AS one", "COPY src docs /w/", "FROM scratch", "COPY --from=one /w/main.py /w/a.md /"
    ),
    "onbuild of a stage of a stage": _file(
        "FROM scratch AS one",
        "ONBUILD WORKDIR /o",
        "ONBUILD COPY src ./s",
        "FROM one AS two",
        "ONBUILD COPY docs ./d",
        "COPY a.txt .",
        "FROM two AS three",
        "COPY b.txt .",
    ),
    "onbuild with variables of those who build on it": _file(
        "FROM scratch AS one", "ENV D=docs", "ONBUILD ARG S=src", "ONBUILD COPY $S /$D/", "FROM one", "COPY a.txt /$S/"
    ),
    # --- layout ---
    "comments and empty lines within an instruction": _scratch(
        "COPY a.txt \\", "# docs \\", "", "  # more", " src/main.py \\", "   ", " /w/", "# the end"
    ),
    "a comment is no continuation": _scratch("# COPY docs / \\", "COPY a.txt /w/"),
    "spaces and tabs": _scratch("\tCOPY\ta.txt  b.txt\t /w/  ", "   WORKDIR   /v  ", "COPY src ."),
    "directives in capitals and with spaces": _file("#Escape = `", "FROM scratch", "COPY a.txt `", " /w/"),
    "a directive after a comment is none": _file("# a comment", "# escape=`", "FROM scratch", "COPY a.txt \\", " /w/"),
    "windows paths are no escapes": _file("# escape=`", "FROM scratch", "COPY a.txt /w`$x/", "COPY b.txt /w``y/"),
    "heredocs with variables, quotes and dashes": _scratch(
        "ENV N=x", "COPY <<$N /h/", "COPY a.txt /", "$N", "COPY <<'A' <<\"B\" b.txt /w/", "COPY docs /", "A", "$N", "B"
    ),
    "a heredoc whose end is indented by spaces": _scratch(
        "COPY <<-EOF /w/", "\tCOPY docs /", "  EOF", "\tEOF", "COPY a.txt /"
    ),
    "a heredoc in an array is none": _scratch('COPY ["a.txt", "b.txt", "/<<EOF/"]', "COPY src /w"),
    "a heredoc that has quotes within": _scratch('COPY <<E"O"F /w/', "COPY docs /", "EOF", "COPY a.txt /"),
    "a heredoc of windows lines": Project(
        dockerfile="FROM scratch\r\nCOPY <<EOF /x\r\nCOPY docs /\r\nEOF\r\nCOPY a.txt /w/\r\n", files=_TREE
    ),
    "small letters everywhere": _file(
        "from scratch as One", "copy a.txt /w/", "from one as two", "add --chmod=600 src /w/"
    ),
    "an instruction without its newline": Project(dockerfile="FROM scratch\nCOPY a.txt /w/", files=_TREE),
    "other instructions": _scratch(
        "LABEL a=1",
        "EXPOSE 80",
        "USER 1",
        "VOLUME /v",
        "STOPSIGNAL 9",
        "CMD a",
        "HEALTHCHECK CMD b",
        "MAINTAINER x",
        'ENTRYPOINT ["c"]',
        'SHELL ["d"]',
        "COPY a.txt /",
    ),
    # --- ADD ---
    "an archive that add names": _scratch(
        "ADD pack.tar /w/",
        "COPY pack.tar /v/",
        files=(*_TREE, "pack.tar"),
        contents={"pack.tar": packed("w:", "x")},
        changed={"pack.tar": packed("w:", "y")},
    ),
    "an archive that does not look like one": _scratch(
        "ADD notes.txt /w/",
        "ADD a.txt /w/",
        files=(*_TREE, "notes.txt"),
        contents={"notes.txt": packed("w:gz", "x")},
        changed={"notes.txt": packed("w:gz", "y")},
    ),
    "what only looks like an archive": _scratch("ADD pack.tar.gz /w/", files=(*_TREE, "pack.tar.gz")),
    "what is compressed and no archive": _scratch(
        "ADD notes.gz /w/", files=(*_TREE, "notes.gz"), contents={"notes.gz": gzip.compress(b"notes", mtime=0)}
    ),
    "an archive in a directory stays packed": _scratch(
        "ADD src /w/",
        files=(*_TREE, "src/in.tar"),
        contents={"src/in.tar": packed("w:bz2", "x")},
        changed={"src/in.tar": packed("w:bz2", "y")},
    ),
    "archives that a pattern finds": _scratch(
        "ADD *.bin a* /w/",
        files=(*_TREE, "1.bin", "2.bin"),
        contents={"1.bin": packed("w:xz", "x")},
        changed={"1.bin": packed("w:xz", "y")},
    ),
    # --- links ---
    "a chain of links": _scratch(
        "COPY one /w/",
        "COPY one/lib/util.py /v",
        links={"one": "two", "two": "./three/../three", "three": "src"},
        relinked={"two": "docs"},
    ),
    "a link that leaves the context stays in it": _scratch(
        "COPY out abs /w/", links={"out": "../../../a.txt", "abs": "/docs"}, relinked={"out": "b.txt", "abs": "src"}
    ),
    "a link in a directory that a pattern finds": _scratch(
        "COPY s* /w/",
        "COPY a.txt docs /v/",
        links={"src/up": "../docs", "src/a": "../a.txt"},
        relinked={"src/up": "../a.txt"},
    ),
    "a link in a directory that is named stays a link": _scratch(
        "COPY src /w/", links={"src/up": "../docs", "src/a": "../a.txt"}, relinked={"src/up": "../a.txt"}
    ),
    "a directory behind a link, ignored in part": _scratch(
        "COPY now /w/", links={"now": "src"}, relinked={"now": "docs"}, ignores={".dockerignore": "src/lib\n"}
    ),
    "a link of another stage is followed": _file(
        "FROM scratch AS one",
        "COPY . /w/",
        "FROM scratch",
        "COPY --from=one /w/now/main.py /w/other /v/",
        links={"now": "src", "other": "docs"},
        relinked={"now": "src/lib"},
    ),
    "a link in the way of a destination": _scratch("COPY . /w/", "COPY a.txt /w/now/", links={"now": "src"}),
    # --- .dockerignore ---
    "the ignore file of a Dockerfile wins": _scratch(
        "COPY . /w/",
        at="build/api.Dockerfile",
        ignores={".dockerignore": "src\n", "build/api.Dockerfile.dockerignore": "docs\n"},
    ),
    "an empty ignore file of a Dockerfile wins too": _scratch(
        "COPY . /w/", ignores={".dockerignore": "src\n", "Dockerfile.dockerignore": ""}
    ),
    "slashes around a rule change nothing": _scratch(
        "COPY . /w/", ignores={".dockerignore": "/src/\n./docs/\n//a.txt\n"}
    ),
    "comments, spaces, CR and a byte order mark": _scratch(
        "COPY . /w/",
        ignores={".dockerignore": "\ufeff  src  \r\n# docs\r\n #docs\r\n\r\n\tb.txt\r\n"},
        files=(*_TREE, "#docs"),
    ),
    "spaces after the mark": _scratch("COPY . /w/", ignores={".dockerignore": "*\n! src\n !a.txt\n"}),
    "double stars": _scratch(
        "COPY . /w/", ignores={".dockerignore": "**/*.md\nsrc/**/util.py\n**/lib/**\n!**/lib/*.py\ndocs**\n"}
    ),
    "the last rule that matches decides": _scratch(
        "COPY . /w/", ignores={".dockerignore": "!a.txt\n*.txt\n!b.txt\nb.txt\n"}
    ),
    "a directory comes back with all of it": _scratch(
        "COPY . /w/", ignores={".dockerignore": "*\n!src\nsrc/main.py\n"}
    ),
    "brought back deep in what is ignored": _scratch(
        "COPY . /w/", ignores={".dockerignore": "src\n!src/lib/util.py\n"}
    ),
    "dots and dots": _scratch("COPY . /w/", ignores={".dockerignore": "src/../docs\n../a.txt\n.\n!\n..\n"[:-5] + "\n"}),
    "a class and a question mark": _scratch(
        "COPY . /w/", ignores={".dockerignore": "[ab].txt\nsr?\n!src/[!x-z]*\ndocs/?.md\n"}
    ),
    "what is ignored cannot be mounted either": _file(
        "FROM busybox",
        "RUN --mount=target=/m md5sum /m/a.txt > /o; cat /proc/sys/kernel/random/uuid > /u",
        ignores={".dockerignore": "docs\nsrc/lib\n"},
    ),
    # --- mounts, other images and contexts ---
    "a mount that may be written to": _file(
        "FROM busybox", "RUN --mount=type=bind,source=src,target=/m,rw md5sum /m/main.py > /o; echo >> /m/main.py"
    ),
    "a mount with quotes and aliases": _file(
        "FROM busybox",
        'RUN --mount=type=bind,"src=src/lib",dst=/m md5sum /m/util.py > /o; cat /proc/sys/kernel/random/uuid > /u',
    ),
    "a mount of a part of a stage": _file(
        "FROM scratch AS one",
        "COPY . /w/",
        "FROM busybox",
        "RUN --mount=from=one,source=/w/src/lib,target=/m md5sum /m/*.py > /o; cat /proc/sys/kernel/random/uuid > /u",
    ),
    "a mount of one file": _file(
        "FROM busybox", "RUN --mount=source=a.txt,target=/m md5sum /m > /o; cat /proc/sys/kernel/random/uuid > /u"
    ),
    "a variable in a mount": _file(
        "FROM busybox", "ARG D=src", "RUN --mount=source=$D,target=/m ls /m > /o; cat /proc/sys/kernel/random/uuid > /u"
    ),
    "a file of an image from outside": _file("FROM scratch", "COPY --from=busybox /bin/true /bin/", "COPY a.txt /bin/"),
    "a folder as a context of its own": _file(
        "FROM scratch", "COPY --from=shared lib/*.py main.py /w/", "COPY a.txt /", contexts={"shared": "src"}
    ),
    "a folder in the place of a stage": _file(
        "FROM scratch AS one", "COPY docs /w/", "FROM scratch", "COPY --from=one / /v/", contexts={"one": "src"}
    ),
    "an image in the place of another": _file(
        "FROM nothing:1",
        "COPY a.txt ./",
        contexts={"nothing:1": "docker-image://busybox"},
        bases={"nothing:1": BaseConfig()},
    ),
    "all of busybox's variables are known": _file("FROM busybox", "COPY a.txt ${HOME:-/h}${PATH:+/p}/"),
}
