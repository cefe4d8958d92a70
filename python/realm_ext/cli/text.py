"""How the commands print: harmless text, sizes, tables."""

from collections.abc import Sequence

_BYTE_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def printable(text: str, limit: int = 80) -> str:
    """Text from a file, fit for a terminal: control characters escaped, length bounded."""
    safe = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit]
    )
    return safe + ("..." if len(text) > limit else "")


def human_bytes(n_bytes: int) -> str:
    """12 bytes, 1.50 KiB, 10.3 MiB."""
    if n_bytes < 1024:
        return f"{n_bytes} bytes"
    power = min((n_bytes.bit_length() - 1) // 10, len(_BYTE_UNITS))
    value = n_bytes / 1024**power
    return f"{value:.{2 if value < 10 else 1}f} {_BYTE_UNITS[power - 1]}"


def human_count(n: int) -> str:
    """950, 1.10 M, 7.24 B."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return f"{n / size:.2f} {unit}"
    return str(n)


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Rows in aligned columns."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return "\n".join(
        (indent + "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row))).rstrip()
        for row in rows
    )
