"""The text of a YAML file by the marks of its nodes, for edits that keep comments and order."""

import dataclasses
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode
from ruamel.yaml.tokens import AliasToken, AnchorToken


@dataclasses.dataclass(frozen=True)
class Edit:
    """New text in place of the characters from `start` to `end`."""

    start: int
    end: int
    text: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """A key of a mapping with its value.

    Attributes:
        key: the key.
        at: the node of the key.
        value: the node of the value.
        end: where the next entry begins, or the mapping ends; comments before it are included.
        above: comments that belong before the entry, and are not beside it in the text.
    """

    key: str
    at: Node
    value: Node
    end: int
    above: tuple[str, ...] = ()


def block_text(text: str) -> str:
    """The text in block style, and without anchors.

    A text that is so already is unchanged. Another one loses its comments.
    """
    tokens = YAML(typ="rt", pure=True).scan(text)
    anchored = any(isinstance(token, AnchorToken | AliasToken) for token in tokens)
    if not anchored and not is_flow(_root(text)):
        return text
    plain = YAML(typ="safe", pure=True)
    plain.default_flow_style = False
    plain.representer.ignore_aliases = lambda _: True
    # ruamel.yaml sorts the keys unless it is told so
    plain.representer.sort_base_mapping_type_on_output = False
    written = io.StringIO()
    plain.dump(plain.load(text), written)
    return written.getvalue()


def top_entries(text: str) -> dict[str, Entry]:
    """The entries of the top level."""
    return {entry.key: entry for entry in entries(_root(text), len(text), text)}


def entries(node: Node, end: int, text: str) -> Iterator[Entry]:
    """The entries of a mapping that ends at `end`; nothing if the node is no mapping."""
    pairs = node.value if isinstance(node, MappingNode) else []
    for index, (key, value) in enumerate(pairs):
        if is_flow(node):
            after = value.end_mark.index
        else:
            after = _line_start(pairs[index + 1][0], text) if index + 1 < len(pairs) else end
        yield Entry(str(key.value), key, value, after)


def is_flow(node: Node) -> bool:
    """Whether a node is a list in brackets or a mapping in braces."""
    return isinstance(node, CollectionNode) and bool(node.flow_style)


def is_mapping(node: Node) -> bool:
    """Whether a node is a mapping."""
    return isinstance(node, MappingNode)


def items(node: Node) -> list[Node]:
    """The nodes of a list; empty if the node is no list."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def source(node: Node, text: str) -> str:
    """The characters of a scalar, or of a list or mapping in flow style."""
    return text[node.start_mark.index : node.end_mark.index]


def value_of(node: Node, text: str) -> Any:
    """The value of a node; None if it cannot be read alone."""
    lines = text[_line_start(node, text) : node.end_mark.index]
    alone = " " * node.start_mark.column + lines[node.start_mark.column :]
    return YAML(typ="safe", pure=True).load(alone)


def edit_of(node: Node, text: str) -> Edit:
    """The edit that puts `text` in the place of a node, without the comments after it."""
    start, end = node.start_mark.index, _last(node).end_mark.index
    return Edit(start, end, text if start < end else f" {text}")  # null may be written as nothing


def written(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./]*(?::\w+)?", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def comment_of(item: Node, text: str) -> Edit:
    """The edit that makes a comment of an item in a list that is not in brackets."""
    dash = text.rfind("-", 0, item.start_mark.index)
    return Edit(dash, dash, "# ")


def nested_edits(entry: Entry, key: str, text: str) -> list[Edit]:
    """The edits that make the value of an entry the value of `key` below it."""
    start = entry.value.start_mark.index
    if is_flow(entry.value) or not isinstance(entry.value, CollectionNode):
        end = entry.value.end_mark.index
        return [Edit(start, start, f"{{{key}: "), Edit(end, end, "}")]
    first = _line_start(entry.value, text)
    lines = range(entry.value.start_mark.line, _last(entry.value).end_mark.line + 1)
    starts = [first]
    for _ in lines[1:]:
        starts.append(text.index("\n", starts[-1]) + 1)
    column = entry.value.start_mark.column
    # a list may begin below its key, but not what is no list
    deeper = "" if column > entry.at.start_mark.column else "  "
    head = Edit(first, first, f"{' ' * column}{deeper}{key}:\n{deeper}")
    return [head, *(Edit(at, at, deeper) for at in starts[1:])]


def comments_in(text: str) -> tuple[str, ...]:
    """The comments of lines that have keys and no text in quotes."""
    return tuple(re.findall(r"(?:^|(?<=\s))#.*", text, flags=re.MULTILINE))


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text after the edits, which do not overlap."""
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def lines_of(entry: Entry, text: str) -> list[str]:
    """The lines of an entry, with the comments after it; its key is at the start of the first."""
    if _is_first_in_line(entry.at, text):
        lines = text[_line_start(entry.at, text) : entry.end].splitlines()
        column = entry.at.start_mark.column
        return [line[column:] if not line[:column].strip() else line.lstrip() for line in lines]
    return [text[entry.at.start_mark.index : entry.value.end_mark.index]]  # in flow style


def commented(entry: Entry, why: str, lines: list[str]) -> list[str]:
    """The lines of an entry as a comment that begins with the reason `why`.

    The comments and empty lines after the value stay as they are.
    """
    count = int(_last(entry.value).end_mark.line - entry.at.start_mark.line) + 1
    return [f"# {why}", *(f"# {line}".rstrip() for line in lines[:count]), *lines[count:]]


def _last(node: Node) -> Node:
    """The last scalar or value in flow style of a node: a block ends only where the next begins."""
    while isinstance(node, CollectionNode) and not is_flow(node) and node.value:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return node


def _root(text: str) -> Node:
    root: Node = YAML(typ="rt", pure=True).compose(text)
    return root


def _line_start(node: Node, text: str) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _is_first_in_line(node: Node, text: str) -> bool:
    return not text[_line_start(node, text) : node.start_mark.index].strip()
