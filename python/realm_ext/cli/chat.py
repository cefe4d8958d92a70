"""`realm-ext chat`: a conversation in the terminal, in the model's own chat template."""

import argparse
import sys

import realm_ext
from realm_ext.cli import generation
from realm_ext.cli.command import Commands

_HELP = "/clear forgets the conversation, /quit or Ctrl-D leaves, Ctrl-C stops an answer"
_MAX_CONTEXT = 8192  # tokens of a conversation, unless --context says otherwise


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("chat", help="talk with a model", epilog=_HELP)
    parser.add_argument("--system", metavar="TEXT", help="a system message to begin with")
    parser.add_argument(
        "--context", type=int, metavar="N", help="tokens a conversation may have [8192 at most]"
    )
    generation.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read lines until the end of input; answer each."""
    _edit_lines()
    params = generation.params_of(arguments)
    with generation.load_model(arguments, arguments.adapter) as model:
        generation.note(_HELP)
        context = arguments.context or min(model.config.n_ctx, _MAX_CONTEXT)
        session = realm_ext.InferenceSession(
            model,
            params,
            kv_dtype=arguments.kv_dtype,
            adapter=generation.adapter_of(arguments),
            max_context=context,
        )
        _converse(Conversation(model, session, arguments.system))
    return 0


class Conversation:
    """Messages so far, and the session that has read them."""

    def __init__(
        self, model: realm_ext.Model, session: realm_ext.InferenceSession, system: str | None
    ) -> None:
        """Begins with a system message, if there is one."""
        self._model = model
        self._session = session
        self._first = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._first)

    def clear(self) -> None:
        """Forgets all but the system message."""
        self._messages = list(self._first)
        self._session.reset()

    def answer(self, line: str) -> None:
        """Writes the answer to one line. Ctrl-C ends the answer early and keeps what there is."""
        self._messages.append({"role": "user", "content": line})
        try:
            self._prefill()
        except (KeyboardInterrupt, realm_ext.RealmError):
            self._messages.pop()
            raise
        meter = generation.Meter(self._session)
        pieces: list[str] = []
        try:
            for piece in self._session.stream():
                pieces.append(piece)
                generation.write(piece)
        except KeyboardInterrupt:
            pass
        print()
        generation.note(meter.report())
        self._messages.append({"role": "assistant", "content": "".join(pieces)})

    def _prefill(self) -> None:
        """Gives the session what it has not read; all of it if it read something else before."""
        ids = self._model.tokenizer.apply_chat_template(self._messages, add_generation_prompt=True)
        known = self._session.tokens
        if len(known) >= len(ids) or ids[: len(known)] != known:
            self._session.reset()
            known = []
        self._session.prefill(ids[len(known) :])


def _converse(conversation: Conversation) -> None:
    while (line := _read_line()) is not None:
        if line == "/quit":
            return
        if line == "/clear":
            conversation.clear()
        elif line:
            try:
                conversation.answer(line)
            except KeyboardInterrupt:
                print()
            except realm_ext.InvalidRequest as error:
                print(f"realm-ext: {error} (/clear begins anew)", file=sys.stderr)


def _read_line() -> str | None:
    """The next line; None at the end of input, or for Ctrl-C at an empty prompt."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        if sys.stdin.isatty():
            print()
        return None


def _edit_lines() -> None:
    """Line editing and a history for input(), where the platform has them."""
    try:
        import readline
    except ImportError:  # not on Windows
        return
    readline.set_history_length(1000)
