"""Each message that docs/users/troubleshooting.md quotes is in the code."""

import ast
import re

from import_graph import ROOT

PAGE = ROOT / "docs" / "users" / "troubleshooting.md"
FIELD = "\0"  # instead of a field of an f-string
LEAST_MESSAGES = 30


def quoted_messages() -> list[str]:
    """The first column of each table, without its header."""
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def texts_in_code() -> list[str]:
    """Every string of the code, where FIELD stands for each field of an f-string."""
    texts = []
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else FIELD for part in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_quoted_messages_are_in_the_code():
    texts = texts_in_code()
    messages = quoted_messages()
    assert len(messages) >= LEAST_MESSAGES
    assert len(set(messages)) == len(messages)
    patterns = {message: ".*".join(map(re.escape, message.split("..."))) for message in messages}
    missing = [m for m, pattern in patterns.items() if not any(re.search(pattern, t, re.DOTALL) for t in texts)]
    assert missing == []
