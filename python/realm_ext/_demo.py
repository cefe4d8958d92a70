"""Where the models that the package carries are."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "demo"


def demo_path(name: str = "") -> Path:
    """The path of a demo file, or of the folder that holds them.

    Args:
        name: "target.gguf", "draft.gguf" or "adapter"; by default the folder.

    Returns:
        A path inside the installed package.

    Example:
        >>> import realm_ext
        >>> realm_ext.demo_path("target.gguf").name
        'target.gguf'
    """
    return _FOLDER / name
