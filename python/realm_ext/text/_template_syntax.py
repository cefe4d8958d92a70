"""What a chat template may look like, and the accounting that is written into it.

A template is refused before it is parsed if reading or compiling it could take long or go deep, and
before it is compiled if it reaches for other templates. Then its syntax tree is given calls to filters
(whose names no template can write) wherever work happens that jinja2's sandbox does not show us: loops,
comparisons, literals, slices.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from realm_ext.text._budget import TemplateLimitError

N = TypeVar("N", bound=nodes.Node)

MAX_CHARACTERS = 1 << 18  # the largest known are below 2^17
MAX_TOKENS = 10_000
MAX_DEPTH = 48
_MAX_BRANCHES = 128
_MAX_NUMBER = 32  # characters of a literal

# Filters of our own. A template can name none of them: they are no identifiers.
USE, MADE, EACH, SPEND, CONCAT = "use it", "made it", "each of it", "spend it", "join it"

_OPENERS = frozenset("if for macro call filter block with autoescape generation".split())
# Other templates, and {% autoescape %}, under which `~` would mean something else.
_IMPOSSIBLE = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.ScopedEvalContextModifier,
)
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}`, which marks the model's part for training: its body."""

    tags = {"generation"}  # noqa: RUF012 - as the base declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """Give what stands inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Nesting:
    """Counts what the parser would have to recurse into."""

    def __init__(self) -> None:
        self.n_tokens = 0
        self._brackets = self._blocks = self._prefixes = self._branches = 0
        self._statement = False

    def see(self, kind: str, value: str) -> None:
        if kind in ("whitespace", "data", "comment"):
            return
        self.n_tokens += 1
        if kind in ("block_begin", "variable_begin"):
            self._brackets = self._prefixes = self._branches = 0
            self._statement = kind == "block_begin"
            return
        if kind == "name" and self._statement:
            self._blocks += (value in _OPENERS) - value.startswith("end")
            self._statement = False
        self._brackets += _BRACKETS.get(value, 0) if kind == "operator" else 0
        self._prefixes = self._prefixes + 1 if value in ("-", "+", "not") else 0
        self._branches += value == "else"
        self._check(kind, value)

    def _check(self, kind: str, value: str) -> None:
        if self.n_tokens > MAX_TOKENS:
            raise TemplateLimitError(f"it has more than {MAX_TOKENS} tokens")
        deepest = max(self._brackets, self._blocks, self._prefixes, self._branches)
        if deepest > MAX_DEPTH:
            raise TemplateLimitError(f"it is nested more than {MAX_DEPTH} deep")
        if kind in ("integer", "float") and len(value) > _MAX_NUMBER:
            raise TemplateLimitError(f"it has a number of {len(value)} characters")


def check_text(environment: jinja2.Environment, text: str) -> None:
    """Refuse what would be expensive to parse."""
    if len(text) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it has {len(text)} characters, possible are {MAX_CHARACTERS}")
    nesting = _Nesting()
    for _, kind, value in environment.lex(text):
        nesting.see(kind, value)


def check_tree(tree: nodes.Template) -> None:
    """Refuse what would be expensive to compile, and what reaches outside."""
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > 3 * MAX_DEPTH:
            raise TemplateLimitError(f"it is nested more than {3 * MAX_DEPTH} deep")
        if isinstance(node, _IMPOSSIBLE):
            raise TemplateLimitError(f"{type(node).__name__.lower()} is not possible")
        if isinstance(node, nodes.If) and len(node.elif_) > _MAX_BRANCHES:
            raise TemplateLimitError(f"it has an if of more than {_MAX_BRANCHES} branches")
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _call(name: str, value: Any, *more: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(more), [], None, None, lineno=value.lineno)


# Their text is accounted for when they run.
_BODIES = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)


def _static_characters(body: list[nodes.Node]) -> int:
    """How much of a template's own text one run through a body can write."""
    characters = 0
    waiting = [node for node in body if not isinstance(node, _BODIES)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, nodes.TemplateData):
            characters += len(node.data)
        waiting.extend(c for c in node.iter_child_nodes() if not isinstance(c, _BODIES))
    return characters


class Accounting(NodeTransformer):
    """Writes the accounting into a syntax tree."""

    def _visited(self, node: N) -> N:
        self.generic_visit(node)
        return node

    def _spending(self, node: Any) -> Any:
        """Charge for a body each time it runs, for its own text too."""
        cost = nodes.Const(1 + _static_characters(node.body), lineno=node.lineno)
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_call(SPEND, cost)], lineno=node.lineno))
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """Count iterations, also those that a condition skips."""
        self._spending(node)
        node.iter = _call(EACH, node.iter)
        return node

    visit_Macro = visit_CallBlock = visit_Block = _spending

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        """Charge for both sides."""
        self.generic_visit(node)
        node.expr = _call(USE, node.expr)
        for operand in node.ops:
            operand.expr = _call(USE, operand.expr)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """`~` makes text, and no operator that the sandbox shows."""
        self.generic_visit(node)
        return _call(CONCAT, node.nodes[0], *node.nodes[1:])

    def visit_List(self, node: nodes.List) -> nodes.Node:
        """Charge for what is made."""
        return _call(MADE, self._visited(node))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        """Charge for what is made."""
        return _call(MADE, self._visited(node))

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        """Charge for what is made, unless it is assigned to."""
        visited = self._visited(node)
        return _call(MADE, visited) if node.ctx == "load" else visited

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        """Charge for slices, which are copies."""
        visited = self._visited(node)
        return _call(MADE, visited) if isinstance(node.arg, nodes.Slice) else visited
