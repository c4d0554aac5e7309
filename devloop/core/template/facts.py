"""What a template's text says before anything is rendered: the variables it needs and the templates it includes.

`core.template` renders. Nothing is loaded here: an included template's own facts are asked for separately.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from jinja2 import nodes

__all__ = ["Include", "TemplateFacts", "VariableUse", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableUse:
    """One use of a variable that the template gets from outside.

    Attributes:
        name: The variable.
        attributes: What is read of it: `("image", "tag")` for `api.image.tag`, up to the first computed part.
        line: The template's line.
    """

    name: str
    attributes: tuple[str, ...]
    line: int

    def __str__(self) -> str:
        return ".".join((self.name, *self.attributes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """One template that another reads.

    Attributes:
        name: The name as written, or None where it is computed.
        line: The line of the statement.
        optional: Whether it may be missing (`ignore missing`, or one of several names).
        sees: Whether it gets the variables: includes and parents do, imports only `with context`.
        bound: Names that the template itself has set there, so that the included one need not get them.
    """

    name: str | None
    line: int
    optional: bool = False
    sees: bool = True
    bound: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFacts:
    """What a template needs.

    Attributes:
        required: Uses of variables that fail where the variable (or attribute) is missing.
        optional: Uses that a test, a default or a condition guards.
        includes: Templates that it includes, extends or imports, in order.
    """

    required: tuple[VariableUse, ...]
    optional: tuple[VariableUse, ...]
    includes: tuple[Include, ...]

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all variables, required or not."""
        return frozenset(use.name for use in (*self.required, *self.optional))


def survey(tree: nodes.Template, known: Iterable[str]) -> TemplateFacts:
    """Return the facts of a parsed template.

    Args:
        tree: The template.
        known: Names that the environment itself provides.
    """
    walker = _Walker(known=frozenset(known) | {"self", "super"})
    scope = _Scope(bound=walker.known)
    walker.body(tree.body, scope)
    # A parent is rendered when its child is through, so it sees all that the child has set.
    at_end = (scope.bound | scope.maybe) - walker.known
    includes = (
        replace(include, bound=at_end) if position in walker.parents else include
        for position, include in enumerate(walker.includes)
    )
    return TemplateFacts(
        required=tuple(dict.fromkeys(walker.required)),
        optional=tuple(dict.fromkeys(walker.optional)),
        includes=tuple(includes),
    )


_Path = tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Scope:
    """The names that mean something at a place of the template.

    Attributes:
        bound: Set by the template itself.
        maybe: Set on some ways that lead here.
        guarded: Variables and attributes that a test has found defined.
    """

    bound: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()
    guarded: frozenset[_Path] = frozenset()

    def inner(self, names: Iterable[str] = (), guarded: Iterable[_Path] = ()) -> "_Scope":
        return _Scope(bound=self.bound | frozenset(names), maybe=self.maybe, guarded=self.guarded | frozenset(guarded))

    def bind(self, names: Iterable[str]) -> None:
        self.bound |= frozenset(names)


@dataclass(slots=True)
class _Walker:
    """Walks a template's tree in the order of its text and notes uses and includes."""

    known: frozenset[str]
    required: list[VariableUse] = field(default_factory=list)
    optional: list[VariableUse] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    parents: set[int] = field(default_factory=set)

    def body(self, statements: Iterable[nodes.Node], scope: _Scope) -> None:
        for statement in statements:
            self.visit(statement, scope)

    @singledispatchmethod
    def visit(self, node: nodes.Node, scope: _Scope) -> None:
        """Note what a node uses; statements change `scope` for those that follow."""
        self.body(node.iter_child_nodes(), scope)

    # --- uses

    @visit.register(nodes.Name)
    @visit.register(nodes.Getattr)
    @visit.register(nodes.Getitem)
    def _use(self, node: nodes.Expr, scope: _Scope) -> None:
        self._note(node, scope, optional=False)

    def _note(self, node: nodes.Node, scope: _Scope, *, optional: bool) -> None:
        """Note a variable or an attribute of one; with `optional`, the last part may be missing."""
        root, path, rest = _path(node)
        for part in rest:
            self.visit(part, scope)
        if not isinstance(root, nodes.Name):
            self.visit(root, scope)
            return
        if root.ctx != "load" or root.name in scope.bound:
            return
        use = VariableUse(name=root.name, attributes=path, line=root.lineno)
        full = (root.name, *path)
        if root.name in scope.maybe or any(full[: len(guard)] == guard for guard in scope.guarded):
            self.optional.append(use)
        elif optional:
            self.optional.append(use)
            if path:  # `a.b is defined` still fails where `a` is missing
                self.required.append(VariableUse(name=root.name, attributes=path[:-1], line=root.lineno))
        else:
            self.required.append(use)

    @visit.register
    def _test(self, node: nodes.Test, scope: _Scope) -> None:
        self._note_or_visit(node.node, scope, optional=node.name in ("defined", "undefined"))
        self._arguments(node, scope)

    @visit.register
    def _filter(self, node: nodes.Filter, scope: _Scope) -> None:
        if node.node is not None:
            self._note_or_visit(node.node, scope, optional=node.name in ("default", "d"))
        self._arguments(node, scope)

    def _note_or_visit(self, node: nodes.Node, scope: _Scope, *, optional: bool) -> None:
        if optional and isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
            self._note(node, scope, optional=True)
        else:
            self.visit(node, scope)

    def _arguments(self, node: nodes.Filter | nodes.Test, scope: _Scope) -> None:
        self.body([*node.args, *node.kwargs], scope)
        self.body([part for part in (node.dyn_args, node.dyn_kwargs) if part is not None], scope)

    # --- conditions

    @visit.register
    def _and(self, node: nodes.And, scope: _Scope) -> None:
        self.visit(node.left, scope)
        self.visit(node.right, scope.inner(guarded=_guards(node.left, when=True)))

    @visit.register
    def _or(self, node: nodes.Or, scope: _Scope) -> None:
        self.visit(node.left, scope)
        self.visit(node.right, scope.inner(guarded=_guards(node.left, when=False)))

    @visit.register
    def _choice(self, node: nodes.CondExpr, scope: _Scope) -> None:
        self.visit(node.test, scope)
        self.visit(node.expr1, scope.inner(guarded=_guards(node.test, when=True)))
        if node.expr2 is not None:
            self.visit(node.expr2, scope.inner(guarded=_guards(node.test, when=False)))

    @visit.register
    def _if(self, node: nodes.If, scope: _Scope) -> None:
        refuted: frozenset[_Path] = scope.guarded
        ends = []
        for branch in (node, *node.elif_):
            before = _Scope(bound=scope.bound, maybe=scope.maybe, guarded=refuted)
            self.visit(branch.test, before)
            inside = before.inner(guarded=_guards(branch.test, when=True))
            self.body(branch.body, inside)
            ends.append(inside)
            refuted |= _guards(branch.test, when=False)
        last = _Scope(bound=scope.bound, maybe=scope.maybe, guarded=refuted)
        self.body(node.else_, last)
        ends.append(last)
        scope.bound = frozenset.intersection(*(end.bound for end in ends))
        scope.maybe = frozenset.union(*(end.bound | end.maybe for end in ends)) - scope.bound

    # --- statements that bind names

    @visit.register
    def _set(self, node: nodes.Assign, scope: _Scope) -> None:
        self.visit(node.node, scope)
        self.visit(node.target, scope)
        scope.bind(_names(node.target))

    @visit.register
    def _set_block(self, node: nodes.AssignBlock, scope: _Scope) -> None:
        if node.filter is not None:
            self.visit(node.filter, scope)
        self.body(node.body, scope.inner())
        scope.bind(_names(node.target))

    @visit.register
    def _namespace_attribute(self, node: nodes.NSRef, scope: _Scope) -> None:
        if node.name not in scope.bound:
            self.required.append(VariableUse(name=node.name, attributes=(), line=node.lineno))

    @visit.register
    def _for(self, node: nodes.For, scope: _Scope) -> None:
        self.visit(node.iter, scope)
        inside = scope.inner((*_names(node.target), "loop"))
        if node.test is not None:
            self.visit(node.test, scope.inner(_names(node.target)))
            inside = inside.inner(guarded=_guards(node.test, when=True))
        self.body(node.body, inside)
        self.body(node.else_, scope.inner())

    @visit.register
    def _with(self, node: nodes.With, scope: _Scope) -> None:
        self.body(node.values, scope)
        self.body(node.body, scope.inner(name for target in node.targets for name in _names(target)))

    @visit.register
    def _macro(self, node: nodes.Macro, scope: _Scope) -> None:
        scope.bind([node.name])
        self._callable(node, scope)

    @visit.register
    def _call_block(self, node: nodes.CallBlock, scope: _Scope) -> None:
        self.visit(node.call, scope)
        self._callable(node, scope)

    def _callable(self, node: nodes.Macro | nodes.CallBlock, scope: _Scope) -> None:
        self.body(node.defaults, scope)
        inside = scope.inner((*(name for part in node.args for name in _names(part)), "caller", "varargs", "kwargs"))
        self.body(node.body, inside)

    @visit.register(nodes.Block)
    @visit.register(nodes.Scope)
    @visit.register(nodes.OverlayScope)
    @visit.register(nodes.ScopedEvalContextModifier)
    def _own_scope(self, node: nodes.Node, scope: _Scope) -> None:
        self.body(node.iter_child_nodes(), scope.inner())

    @visit.register
    def _filter_block(self, node: nodes.FilterBlock, scope: _Scope) -> None:
        self.visit(node.filter, scope)
        self.body(node.body, scope.inner())

    # --- other templates

    @visit.register(nodes.Include)
    @visit.register(nodes.Extends)
    @visit.register(nodes.Import)
    @visit.register(nodes.FromImport)
    def _other(self, node: nodes.Include | nodes.Extends | nodes.Import | nodes.FromImport, scope: _Scope) -> None:
        self.visit(node.template, scope)
        names = list(_template_names(node.template))
        optional = bool(getattr(node, "ignore_missing", False)) or len(names) > 1
        sees = bool(getattr(node, "with_context", True))
        bound = (scope.bound | scope.maybe) - self.known
        for name in names:
            if isinstance(node, nodes.Extends):
                self.parents.add(len(self.includes))
            self.includes.append(Include(name=name, line=node.lineno, optional=optional, sees=sees, bound=bound))
        match node:
            case nodes.Import():
                scope.bind([node.target])
            case nodes.FromImport():
                scope.bind(name if isinstance(name, str) else name[1] for name in node.names)
            case _:
                pass


def _path(node: nodes.Node) -> tuple[nodes.Node, tuple[str, ...], list[nodes.Node]]:
    """Return the root of a chain of attributes, the constant part of the chain, and the computed parts in it."""
    steps: list[str | None] = []
    computed: list[nodes.Node] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        match node:
            case nodes.Getattr():
                steps.append(node.attr)
            case nodes.Getitem(arg=nodes.Const(value=str() as key)):
                steps.append(key)
            case _:
                steps.append(None)
                computed.append(node.arg)
        node = node.node
    steps.reverse()
    constant = steps[: steps.index(None)] if None in steps else steps
    return node, tuple(step for step in constant if step is not None), computed


def _guards(node: nodes.Node, *, when: bool) -> frozenset[_Path]:
    """Return the variables and attributes that exist for sure where `node` is true (or false, by `when`)."""
    match node:
        case nodes.Test(name="defined" | "undefined" as name) if (name == "defined") == when:
            root, path, computed = _path(node.node)
            return frozenset({(root.name, *path)}) if isinstance(root, nodes.Name) and not computed else frozenset()
        case nodes.Not():
            return _guards(node.node, when=not when)
        case nodes.And() | nodes.Or():
            left, right = _guards(node.left, when=when), _guards(node.right, when=when)
            return left | right if isinstance(node, nodes.And) == when else left & right
        case _:
            return frozenset()


def _names(target: nodes.Node) -> Iterator[str]:
    if isinstance(target, nodes.Name):
        yield target.name
    for name in target.find_all(nodes.Name):
        yield name.name


def _template_names(node: nodes.Node) -> Iterator[str | None]:
    match node:
        case nodes.Const(value=str() as name):
            yield name
        case nodes.Const(value=tuple() | list() as several):
            yield from (name if isinstance(name, str) else None for name in several)
        case nodes.Tuple() | nodes.List():
            for item in node.items:
                yield from _template_names(item)
        case nodes.CondExpr():
            yield from _template_names(node.expr1)
            if node.expr2 is not None:
                yield from _template_names(node.expr2)
        case _:
            yield None
