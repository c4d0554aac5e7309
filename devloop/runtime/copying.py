"""The workers for containers: copy files there, do what follows a copy, and bring files back."""

from collections.abc import Sequence
from functools import partial
from typing import assert_never

from anyio import to_thread

from devloop.core.engine.runs import DONE, Follow, Run, RunEnded, Sync
from devloop.core.engine.state import State
from devloop.core.sync.pulling import Looked
from devloop.core.sync.rules import FollowUp
from devloop.errors import ToolError
from devloop.events import Noted, RunOutput, RunProgressed
from devloop.model import Digest, PullRule, RelPath, RestartRule, RunRule
from devloop.runtime.ports import Syncer
from devloop.runtime.pull import Pulled, bring_back
from devloop.runtime.tools import Done, Tools

__all__ = ["copy", "follow"]


async def copy(run: Run, work: Sync, tools: Tools) -> tuple[Done, RunEnded]:
    """Make the container hold the files."""
    acknowledged = await _syncer(tools).send(work.target, work.changes)
    count = len(acknowledged)
    what = acknowledged[0].source if count == 1 else f"{count} files"
    ended = RunEnded(number=run.number, result=DONE, acknowledged=tuple(acknowledged))
    return Done(summary=f"{what} → {work.target.pod}"), ended


async def follow(run: Run, work: Follow, tools: Tools, state: State) -> tuple[Done, RunEnded]:
    """Do what the rules say after a copy, or bring back what changed in the container."""
    done = []
    looks: list[Pulled] = []
    for follow_up in work.follow_ups:
        tools.emit(RunProgressed(node=run.key.node, run=run.number, message=_what(follow_up)))
        match follow_up.rule:
            case RunRule():
                await _command(run, work, follow_up.rule, tools)
            case RestartRule():
                await _syncer(tools).restart(work.target)
            case PullRule():
                pulled = await _pull(run, work, follow_up.rule, tools, state)
                looks.append(pulled)
                if not pulled.written and not pulled.deleted:
                    continue
            case _:
                assert_never(follow_up.rule)
        done.append(_what(follow_up))
    ended = RunEnded(number=run.number, result=DONE, looked=_together(work, looks) if looks else None)
    if not done:
        return Done(summary="nothing new to bring back", changed=False), ended
    return Done(summary=f"{', '.join(done)} in {work.target.pod}"), ended


async def _pull(run: Run, work: Follow, rule: PullRule, tools: Tools, state: State) -> Pulled:
    """Bring a file or folder back, where it changed in the container and not here."""
    pod = state.pods.get(work.target.uid)
    started = pod.started.get(work.target.container, 0.0) if pod is not None else 0.0
    destination = RelPath(rule.destination)
    archive = await _syncer(tools).fetch(work.target, rule.source)
    ledger = state.ledger
    bring = partial(
        bring_back, agreed=ledger.agreed, seen=ledger.seen.get(work.target), started=started, root=tools.root
    )
    pulled = await to_thread.run_sync(bring, archive, destination)
    for path in pulled.kept:
        message = f"`{path}` was changed both here and in pod `{work.target.pod}`, and stays as it is here"
        hint = "delete it here to take the container's with its next change"
        tools.emit(Noted(node=run.key.node, message=message, hint=hint))
    return pulled


def _together(work: Follow, looks: Sequence[Pulled]) -> Looked:
    agreed: dict[RelPath, Digest] = {}
    seen: dict[RelPath, Digest] = {}
    for pulled in looks:
        agreed |= pulled.agreed
        seen |= pulled.seen
    return Looked(target=work.target, agreed=agreed, seen=seen)


async def _command(run: Run, work: Follow, rule: RunRule, tools: Tools) -> None:
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        tools.emit(RunOutput(node=run.key.node, run=run.number, line=line))

    code = await _syncer(tools).run(work.target, rule.command, tell)
    if code != 0:
        message = f"`{rule.command}` failed with exit code {code} in pod `{work.target.pod}`; the copied files stay"
        raise ToolError(message, command=("sh", "-c", rule.command), exit_code=code, tail=lines[-20:])


def _what(follow_up: FollowUp) -> str:
    match follow_up.rule:
        case RunRule(command=command):
            return command
        case RestartRule():
            return "restart"
        case PullRule(destination=destination):
            return f"pull {destination}"
        case _:
            assert_never(follow_up.rule)


def _syncer(tools: Tools) -> Syncer:
    if tools.syncer is None:
        raise ToolError("this session copies no files")
    return tools.syncer
