"""What can go wrong, as classes; each also is the built-in exception that a caller would expect.

Example:
    >>> import realm_ext
    >>> try:
    ...     realm_ext.GGUFFile(b"not a model")
    ... except realm_ext.FormatError as error:
    ...     print(type(error).__name__)
    FormatError
"""


class RealmError(Exception):
    """Base of all errors of realm_ext; raised itself only for a defect of ours."""


class FormatError(RealmError, ValueError):
    """A file or buffer says something impossible; the message has field, value and offset."""


class IoError(RealmError, OSError):
    """The operating system refused a file operation; `errno` says why."""


class FileMissingError(IoError, FileNotFoundError):
    """There is no such file."""


class AdapterError(RealmError):
    """An adapter does not fit its base."""


class OutOfMemoryError(RealmError, MemoryError):
    """More memory is needed than there is."""


class QuotaExceeded(RealmError):
    """A request is above a limit; the message says which.

    Attributes:
        quota: The limit's name, as `Quota` or `Engine` have it.
        limit: What it is.
        value: What it would have become with the request.
    """

    def __init__(self, message: str = "", quota: str = "", limit: int = 0, value: int = 0) -> None:
        """A refusal."""
        super().__init__(message, quota, limit, value)
        self.quota = quota
        self.limit = limit
        self.value = value

    def __str__(self) -> str:
        """The message."""
        return str(self.args[0])


class DeviceError(RealmError):
    """An accelerator is absent, lost or failing."""


class RequestCancelled(RealmError):
    """The caller withdrew the request."""


class InvalidRequest(RealmError, ValueError):
    """An argument that the caller can correct."""


class ProcessForkedError(RealmError):
    """An object with threads was used in a child process after fork."""


class ExtraMissingError(RealmError, ImportError):
    """A part of realm_ext needs a package that is not installed; the message names the extra."""

    def __init__(self, part: str, extra: str, cause: ImportError) -> None:
        super().__init__(
            f"{part} needs the extra {extra!r}: pip install 'realm_ext[{extra}]' ({cause})"
        )
        self.name = cause.name
