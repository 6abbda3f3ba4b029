"""Completion where click's own falls short: values after ``--option=``, and descriptions in fish that have commas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete, add_completion_class

if TYPE_CHECKING:
    _Base = ShellComplete
else:
    _Base = object

__all__ = ["register"]


class _Bash(BashComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one to complete, and that; to bash the ``=`` is a word of its own."""
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


class _WholeWords(_Base):
    """These shells replace or compare the whole word, of which click completes what follows the ``=``."""

    def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
        """Return the words that ``incomplete`` can become."""
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in items:
                item.value = f"{option}={item.value}"
        return items


class _Zsh(_WholeWords, ZshComplete):
    pass


class _Fish(_WholeWords, FishComplete):
    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


def register() -> None:
    """Let click complete with these."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)
